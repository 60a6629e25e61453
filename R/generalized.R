# Fit generalized linear mixed models with lme4's own drivers.

fit_generalized <- function(call, env, family, nAGQ, verbose) {
  call[[1]] <- if (family$name == "nbinom") quote(lme4::glmer.nb) else quote(lme4::glmer)
  call$verbose <- if (verbose > 0) verbose
  if (family$name != "nbinom") {
    call$family <- family_call(family)
    if (nAGQ != 1) call$nAGQ <- nAGQ
  } else if (!is.null(family$link)) {
    call$link <- family$link
  }
  model <- eval(call, env)
  tidy_environment(env)
  model
}

# The family as the call that makes it, so that the stored call stays short.
family_call <- function(family) {
  maker <- switch(family$name,
    gaussian = quote(stats::gaussian), binomial = quote(stats::binomial), poisson = quote(stats::poisson),
    gamma = quote(stats::Gamma), inverse_gaussian = quote(stats::inverse.gaussian)
  )
  if (is.null(family$link)) as.call(list(maker)) else as.call(list(maker, link = family$link))
}

# Draw a response from the model and fit it: lme4's own steps, since the deviance
# of a generalized model depends on its coefficients too.
generalized_refitter <- function(model) {
  sizes <- lengths(model@cnms)
  has_scale <- model@devcomp$dims[["useSc"]] == 1
  function() {
    fit <- lme4::refit(model, stats::simulate(model, 1)[[1]])
    scale <- if (has_scale) stats::sigma(fit) else 1
    spread <- sd_and_correlations(lme4::getME(fit, "theta"), sizes, scale)
    c(spread, if (has_scale) scale, lme4::fixef(fit))
  }
}
