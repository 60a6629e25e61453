# Fit generalized linear mixed models with lme4's own drivers.

fit_generalized <- function(call, env, family, nAGQ, verbose) {
  if (family$name == "nbinom") {
    call[[1]] <- quote(lme4::glmer.nb)
  } else {
    call[[1]] <- quote(lme4::glmer)
    call$family <- family_call(family)
  }
  if (nAGQ != 1) call$nAGQ <- nAGQ
  if (verbose > 0) call$verbose <- verbose
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
