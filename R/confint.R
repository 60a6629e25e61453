# Confidence limits: Wald, profile likelihood, parametric bootstrap.

confint_mixed <- function(model, interval) {
  names <- limit_names(model)
  limits <- switch(interval$method,
    Wald = wald_limits(model, interval$level, names),
    profile = profile_limits(model, interval$level),
    boot = draw_limits(draws_of(model, interval), interval$level)
  )
  list(lower = as.vector(limits[, 1]), upper = as.vector(limits[, 2]), names = names)
}

# Draws that workers have made, or new ones.
draws_of <- function(model, interval) {
  drawn <- made_draws(interval$made)
  if (is.null(drawn)) bootstrap_draws(model, interval$seeds) else drawn
}

made_draws <- function(made) if (!is.null(made)) structure(made$values, reasons = made$reasons)

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
# A draw that is 0 but for rounding counts on both sides.
p_of_draws <- function(draws) {
  draws <- draws[stats::complete.cases(draws), , drop = FALSE]
  spread <- sqrt(colMeans(sweep(draws, 2, colMeans(draws))^2))
  slack <- rep(1e-10 * spread, each = nrow(draws))
  hits <- pmin(1 + colSums(draws <= slack), 1 + colSums(draws >= -slack))
  pmin(1, 2 * hits / (nrow(draws) + 1))
}

# The draws that could be fitted. A correlation is missing too where a variance is drawn as 0.
fitted_draws <- function(draws, kind) {
  failed <- rowSums(!is.na(draws)) == 0
  if (!any(failed)) return(draws)
  n <- nrow(draws)
  told <- counted_reasons(attr(draws, "reasons")[failed], n)
  if (all(failed)) stop("none of the ", n, " ", kind, " fits succeeded. ", told, call. = FALSE)
  warning(sum(failed), " of ", n, " ", kind, " fits failed and were left out. ", told, call. = FALSE)
  draws[!failed, , drop = FALSE]
}

draw_limits <- function(draws, level) {
  tail <- (1 - level) / 2
  kept <- fitted_draws(draws, "bootstrap")
  t(apply(kept, 2, stats::quantile, probs = c(tail, 1 - tail), names = FALSE, na.rm = TRUE))
}

# None for the random part, as in R.
wald_limits <- function(model, level, names) {
  estimate <- lme4::fixef(model)
  half <- stats::qnorm((1 + level) / 2) * sqrt(diag(fixed_covariance(model)))
  limits <- matrix(NA_real_, length(names), 2)
  limits[length(names) - length(estimate) + seq_along(estimate), ] <- c(estimate - half, estimate + half)
  limits
}

# Profiling refits the deviance function of the object it is given: it gets a copy. Under their short names,
# such as .sigma, parameters can't be taken for predictors.
profile_limits <- function(model, level) {
  if (lme4::isGLMM(model) && model@devcomp$dims[["nAGQ"]] == 0) {
    stop("lme4 can't profile a model that was fitted with nAGQ = 0. Use nAGQ = 1, or other limits.")
  }
  copy <- unserialize(serialize(as_lme4(model), NULL))
  limits <- lme4_limits(copy, short = TRUE, level = level, method = "profile", quiet = TRUE)
  limits[limit_order(copy), , drop = FALSE]
}

# Where lme4 lists what limit_names() names: the coefficients last, the others in an order that differs between
# its versions. Two terms may share a name.
limit_order <- function(model) {
  theirs <- rownames(lme4_limits(model, short = FALSE, parm = "theta_", method = "Wald"))
  theirs <- theirs[!is.na(theirs)]
  p <- length(lme4::fixef(model))
  ours <- utils::head(limit_names(model), length(theirs))
  c(match(make.unique(ours), make.unique(theirs)), length(theirs) + seq_len(p))
}

# confint(), whose argument for short names lme4 1.1-38 renamed.
lme4_limits <- function(model, short, ...) {
  known <- names(formals(utils::getS3method("confint", "merMod", envir = asNamespace("lme4"))))
  if ("signames" %in% known) stats::confint(model, signames = short, ...) else stats::confint(model, oldNames = short, ...)
}
