# Confidence limits: Wald, profile likelihood, parametric bootstrap.

# The names of all parameters, and their limits but for those that come from draws. `interval` holds the method, the
# level and, for "profile", what was made of it in parts beforehand.
confint_mixed <- function(model, interval) {
  names <- limit_names(model)
  limits <- switch(interval$method,
    Wald = wald_limits(model, interval$level, names),
    profile = profile_limits(model, interval$level, interval$made)
  )
  list(lower = as.vector(limits[, 1]), upper = as.vector(limits[, 2]), names = names)
}

# Limits of the coefficients by a profile.
fixed_limits <- function(model, interval) {
  limits <- profile_limits(model, interval$level, interval$made, random = FALSE)
  limits <- utils::tail(limits, length(lme4::fixef(model)))
  list(lower = as.vector(limits[, 1]), upper = as.vector(limits[, 2]))
}

# None for the random part, as in R.
wald_limits <- function(model, level, names) {
  estimate <- lme4::fixef(model)
  half <- stats::qnorm((1 + level) / 2) * sqrt(diag(fixed_covariance(model)))
  limits <- matrix(NA_real_, length(names), 2)
  limits[length(names) - length(estimate) + seq_along(estimate), ] <- c(estimate - half, estimate + half)
  limits
}

# How many parameters lme4 profiles, one after the other; 0 where the limits are not its own.
profile_parts <- function(model) {
  if (lme4::isGLMM(model) && model@devcomp$dims[["nAGQ"]] == 0) {
    stop("lme4 can't profile a model that was fitted with nAGQ = 0. Use nAGQ = 1, or other limits.")
  }
  list(n = scalar(if (is_weighted(model)) 0L else length(limit_names(model))))
}

is_weighted <- function(model) lme4::isLMM(model) && any(model@resp$weights != 1)

# Profile-likelihood limits, a row a parameter; `random` is whether more than the coefficients is asked for, where that
# is less work. They are lme4's, which profile_part() has found, but for linear models with weights, or with a profile
# of lme4's that is not monotonic.
profile_limits <- function(model, level, parts, random = TRUE) {
  free <- lme4::isLMM(model) && all(vapply(structures_of(model), is.null, NA))
  if (is_weighted(model)) {
    coefficients <- likelihood_limits(model, level, random && free)
    if (!random || free) return(coefficients)
    return(rbind(profile_of_parts(model, list(profile_part(model, level, "theta_")))$limits, coefficients))
  }
  stopped <- unlist(lapply(parts, `[[`, "error"))
  if (length(stopped)) {
    if (!free) stop(stopped[1])
    doubt <- paste0("R stopped at the profile: ", stopped[1], ".")
  } else {
    found <- profile_of_parts(model, parts)
    if (length(found$doubtful) == 0) return(found$limits)
    doubt <- paste("R's profile of", toString(found$doubtful), "is not monotonic, so its limits are not to be relied on.")
  }
  if (!free) {
    warning(doubt, " Use bootstrap or Wald limits.")
    return(found$limits)
  }
  warning(doubt, " Those given are of the likelihood itself; bootstrap limits need no profile.")
  likelihood_limits(model, level, random)
}

# Limits from lme4's profile of the parameters that are the `which`-th to it, whether each is monotonic, and what was
# said; or the error that ended it. It refits the deviance function of the object it is given, which gets a copy. Under
# short names, such as .sigma, parameters can't be taken for predictors.
profile_part <- function(model, level, which) {
  said <- character()
  tryCatch(withCallingHandlers({
    traced <- stats::profile(unserialize(serialize(as_lme4(model), NULL)), which = which, signames = TRUE)
    limits <- stats::confint(traced, level = level)
    monotonic <- !vapply(attr(traced, "backward"), inherits, NA, "error")
    list(limits = unname(limits), monotonic = unname(monotonic), said = said)
  }, warning = function(w) {
    said <<- c(said, conditionMessage(w))
    invokeRestart("muffleWarning")
  }), error = function(e) list(error = scalar(conditionMessage(e))))
}

# The limits of all parts in the order of limit_names(), and the parameters whose profile is not monotonic.
profile_of_parts <- function(model, parts) {
  limits <- do.call(rbind, lapply(parts, `[[`, "limits"))
  order <- limit_order(model)[seq_len(nrow(limits))]
  monotonic <- unlist(lapply(parts, `[[`, "monotonic"))[order]
  doubtful <- limit_names(model)[seq_along(order)][!monotonic]
  # What it says of a profile that is not monotonic is in its own names.
  if (length(doubtful) == 0) for (text in unlist(lapply(parts, `[[`, "said"))) warning(text, call. = FALSE)
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
