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
    limits <- utils::tail(profile_limits(model, interval$level, random = FALSE), p)
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

# Profile-likelihood limits, a row a parameter; `random` is whether more than the coefficients is asked for, where that
# is less work. They are lme4's, but for linear models with weights, or with a profile of lme4's that is not monotonic.
profile_limits <- function(model, level, random = TRUE) {
  if (lme4::isGLMM(model) && model@devcomp$dims[["nAGQ"]] == 0) {
    stop("lme4 can't profile a model that was fitted with nAGQ = 0. Use nAGQ = 1, or other limits.")
  }
  free <- lme4::isLMM(model) && all(vapply(structures_of(model), is.null, NA))
  if (lme4::isLMM(model) && any(model@resp$weights != 1)) {
    coefficients <- likelihood_limits(model, level, random && free)
    return(if (random && !free) rbind(lme4_profile(model, level, "theta_")$limits, coefficients) else coefficients)
  }
  found <- tryCatch(lme4_profile(model, level), error = function(e) if (free) conditionMessage(e) else stop(e))
  if (is.list(found) && length(found$doubtful) == 0) return(found$limits)
  doubt <- if (is.list(found)) {
    paste("R's profile of", toString(found$doubtful), "is not monotonic, so its limits are not to be relied on.")
  } else {
    paste0("R stopped at the profile: ", found, ".")
  }
  if (!free) {
    warning(doubt, " Use bootstrap or Wald limits.")
    return(found$limits)
  }
  warning(doubt, " Those given are of the likelihood itself; bootstrap limits need no profile.")
  likelihood_limits(model, level, random)
}

# The limits of lme4's profile, and the parameters for which it is not monotonic. It refits the deviance function of the
# object it is given, which gets a copy. Under short names, such as .sigma, parameters can't be taken for predictors.
lme4_profile <- function(model, level, which = seq_along(limit_names(model))) {
  said <- character()
  limits <- withCallingHandlers({
    traced <- stats::profile(unserialize(serialize(as_lme4(model), NULL)), which = which, signames = TRUE)
    stats::confint(traced, level = level)
  }, warning = function(w) {
    said <<- c(said, conditionMessage(w))
    invokeRestart("muffleWarning")
  })
  curves <- attr(traced, "backward")
  order <- limit_order(model)[seq_along(curves)]
  doubtful <- limit_names(model)[vapply(curves, inherits, NA, "error")[order]]
  # What it says of a profile that is not monotonic is in its own names.
  if (length(doubtful) == 0) for (text in said) warning(text, call. = FALSE)
  list(limits = limits[order, , drop = FALSE], doubtful = doubtful)
}

# Where lme4 lists what limit_names() names: the coefficients last, the others in an order that differs between
# its versions. Two terms may share a name.
limit_order <- function(model) {
  known <- names(formals(utils::getS3method("confint", "merMod", envir = asNamespace("lme4"))))
  # lme4 1.1-38 renamed the argument for short names.
  long <- setNames(list(FALSE), intersect(c("signames", "oldNames"), known)[1])
  theirs <- rownames(do.call(stats::confint, c(list(model, parm = "theta_", method = "Wald"), long)))
  theirs <- theirs[!is.na(theirs)]
  p <- length(lme4::fixef(model))
  ours <- utils::head(limit_names(model), length(theirs))
  c(match(make.unique(ours), make.unique(theirs)), length(theirs) + seq_len(p))
}
