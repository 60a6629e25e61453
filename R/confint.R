# Confidence limits: Wald, profile likelihood, parametric bootstrap.

confint_mixed <- function(model, interval) {
  limits <- switch(interval$method,
    Wald = wald_limits(model, interval$level),
    profile = profile_limits(model, interval$level),
    boot = draw_limits(draws_of(model, interval), interval$level)
  )
  list(lower = as.vector(limits[, 1]), upper = as.vector(limits[, 2]), names = limit_names(model))
}

# Draws that workers have made, or new ones.
draws_of <- function(model, interval) {
  if (is.null(interval$draws)) bootstrap_draws(model, interval$seeds) else interval$draws
}

# Limits of the coefficients alone; for bootstrap draws also the p that inverts them.
fixed_limits <- function(model, interval, estimate, se) {
  tail <- (1 - interval$level) / 2
  p <- length(estimate)
  if (interval$method == "Wald") {
    half <- stats::qnorm(tail, lower.tail = FALSE) * se
    return(list(lower = estimate - half, upper = estimate + half))
  }
  if (interval$method == "profile") {
    limits <- utils::tail(profile_limits(model, interval$level), p)
    return(list(lower = limits[, 1], upper = limits[, 2]))
  }
  draws <- draws_of(model, interval)
  limits <- utils::tail(draw_limits(draws, interval$level), p)
  coefficients <- draws[, ncol(draws) - p + seq_len(p), drop = FALSE]
  list(lower = limits[, 1], upper = limits[, 2], p = p_of_draws(coefficients))
}

# Two-sided p by inverting percentile limits; never 0, since n draws can't show less than 1/(n + 1).
p_of_draws <- function(draws) {
  draws <- draws[stats::complete.cases(draws), , drop = FALSE]
  hits <- pmin(1 + colSums(draws <= 0), 1 + colSums(draws >= 0))
  pmin(1, 2 * hits / (nrow(draws) + 1))
}

draw_limits <- function(draws, level) {
  tail <- (1 - level) / 2
  kept <- draws[stats::complete.cases(draws), , drop = FALSE]
  if (nrow(kept) == 0) stop("none of the ", nrow(draws), " bootstrap fits succeeded")
  failed <- nrow(draws) - nrow(kept)
  if (failed > 0) warning(failed, " of ", nrow(draws), " bootstrap fits failed and were left out")
  t(apply(kept, 2, stats::quantile, probs = c(tail, 1 - tail), names = FALSE))
}

wald_limits <- function(model, level) {
  suppressMessages(stats::confint(as_lme4(model), level = level, method = "Wald", oldNames = FALSE))
}

# Profiling refits the deviance function of the object it is given: it gets a copy.
profile_limits <- function(model, level) {
  copy <- unserialize(serialize(as_lme4(model), NULL))
  suppressMessages(stats::confint(copy, level = level, method = "profile", oldNames = FALSE, quiet = TRUE))
}

as_lme4 <- function(model) {
  if (methods::is(model, "lmerModLmerTest")) methods::as(model, "lmerMod") else model
}

limit_names <- function(model) rownames(wald_limits(model, 0.95))
