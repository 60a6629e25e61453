# Confidence limits: Wald, profile likelihood, parametric bootstrap.

# The names of all parameters, and their limits but for those that come from draws. `interval` holds the method, and for
# "Wald" the level, for "profile" what was made of it in parts beforehand. A doubt says why a profile has no limits that
# are to be relied on.
confint_mixed <- function(model, interval) {
  names <- limit_names(model)
  found <- switch(interval$method,
    Wald = list(limits = wald_limits(model, interval$level, names)),
    profile = profile_limits(model, interval$made)
  )
  list(lower = as.vector(found$limits[, 1]), upper = as.vector(found$limits[, 2]), names = names, doubt = found$doubt)
}

# Limits and traces of the random part and sigma: of each parameter how many points, their values and zeta.
variance_profile <- function(model, interval) {
  found <- profile_limits(model, interval$made)
  traces <- do.call(rbind, found$traces)
  list(
    names = utils::head(limit_names(model), nrow(found$limits)),
    lower = as.vector(found$limits[, 1]), upper = as.vector(found$limits[, 2]), doubt = found$doubt,
    points = vapply(found$traces, nrow, 1L), value = as.vector(traces[, 1]), zeta = as.vector(traces[, 2])
  )
}

# None for the random part, as in R.
wald_limits <- function(model, level, names) {
  estimate <- lme4::fixef(model)
  half <- stats::qnorm((1 + level) / 2) * sqrt(diag(fixed_covariance(model)))
  limits <- matrix(NA_real_, length(names), 2)
  limits[length(names) - length(estimate) + seq_along(estimate), ] <- c(estimate - half, estimate + half)
  limits
}

# How many parameters lme4 profiles, one after the other, the coefficients last.
profile_parts <- function(model, fixed) {
  if (lme4::isGLMM(model) && model@devcomp$dims[["nAGQ"]] == 0) {
    stop("lme4 can't profile a model that was fitted with nAGQ = 0. Use nAGQ = 1, or other limits.")
  }
  list(n = scalar(length(limit_names(model)) - if (fixed) 0L else length(lme4::fixef(model))))
}

# Profile limits, a row a parameter, and a trace each, a matrix of values and zeta, from the parts that profile_part()
# has made; and a doubt where it stopped, or is not monotonic.
profile_limits <- function(model, made) {
  stopped <- unlist(lapply(made, `[[`, "error"))
  if (length(stopped)) return(list(doubt = scalar(paste0("R stopped at the profile: ", stopped[1], "."))))
  found <- profile_of_parts(model, made)
  if (length(found$doubtful)) {
    found$doubt <- scalar(paste(
      "R's profile of", toString(found$doubtful), "is not monotonic, so its limits are not to be relied on."
    ))
  }
  found
}

# Limits from lme4's profile of the parameters that are the `which`-th to it, about `steps` points on either side; the
# traces, whether each is monotonic, and what was said; or the error that ended it. It refits the deviance function of the
# object it is given, which gets a copy. Under short names, such as .sigma, parameters can't be taken for predictors.
profile_part <- function(model, cutoff, which, steps = 8) {
  said <- character()
  # lme4 goes as far as this tail of all parameters, which is beyond the limits asked for.
  tail <- min(0.01, stats::pchisq(cutoff, length(limit_names(model)), lower.tail = FALSE))
  tryCatch(withCallingHandlers({
    traced <- stats::profile(
      unserialize(serialize(as_lme4(model), NULL)), which = which, signames = TRUE,
      alphamax = tail, delta.cutoff = 1 / steps, maxpts = max(100, 4 * steps)
    )
    limits <- stats::confint(traced, zeta = c(-1, 1) * sqrt(cutoff))
    monotonic <- !vapply(attr(traced, "backward"), inherits, NA, "error")
    traces <- lapply(names(monotonic), function(name) {
      rows <- traced[traced$.par == name & !is.na(traced$.zeta), ]
      cbind(rows[[name]], rows$.zeta)
    })
    list(limits = unname(limits), traces = traces, monotonic = unname(monotonic), said = said)
  }, warning = function(w) {
    said <<- c(said, conditionMessage(w))
    invokeRestart("muffleWarning")
  }), error = function(e) list(error = scalar(conditionMessage(e))))
}

# The limits and traces of all parts in the order of limit_names(), and the parameters whose profile is not monotonic.
profile_of_parts <- function(model, parts) {
  limits <- do.call(rbind, lapply(parts, `[[`, "limits"))
  order <- limit_order(model)[seq_len(nrow(limits))]
  monotonic <- unlist(lapply(parts, `[[`, "monotonic"))[order]
  doubtful <- limit_names(model)[seq_along(order)][!monotonic]
  # What it says of a profile that is not monotonic is in its own names.
  if (length(doubtful) == 0) for (text in unlist(lapply(parts, `[[`, "said"))) warning(text, call. = FALSE)
  traces <- do.call(c, lapply(parts, `[[`, "traces"))[order]
  list(limits = limits[order, , drop = FALSE], traces = traces, doubtful = doubtful)
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
