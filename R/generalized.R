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

# As linear_refitter(), by lme4's own steps: the deviance depends on the coefficients too.
generalized_refitter <- function(model) {
  function(response) {
    fit <- lme4::refit(model, response)
    list(
      theta = lme4::getME(fit, "theta"), spread = sqrt(effect_variance(fit)), sigma = stats::sigma(fit),
      beta = lme4::fixef(fit), se = sqrt(diag(as.matrix(stats::vcov(fit))))
    )
  }
}
