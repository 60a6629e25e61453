# Fit generalized linear mixed models with lme4's own drivers.

# A gamma model starts at the outcome, as in R's glm(). From 2.0 on lme4 starts it at one mean for all rows, from where
# the first step under another link than log may lead to means below 0.
fit_generalized <- function(call, env, family, nAGQ, verbose) {
  if (is.call(call$formula[[2]])) refuse_outcome(call$formula[[2]], env, family$name)
  if (family$name == "nbinom") {
    call[[1]] <- quote(lme4::glmer.nb)
  } else {
    call[[1]] <- quote(lme4::glmer)
    call$family <- family_call(family)
  }
  if (nAGQ != 1) call$nAGQ <- nAGQ
  if (verbose > 0) call$verbose <- verbose
  if (family$name == "gamma" && !identical(family$link, "log")) call$mustart <- call$formula[[2]]
  model <- finite(eval(call, env))
  tidy_environment(env)
  model
}

# Stop at an outcome that is computed and that the family does not take; columns are looked at before R is asked. What
# can't be computed R says as it fits.
refuse_outcome <- function(outcome, env, family) {
  y <- tryCatch(eval(outcome, env$data, env), error = function(e) NULL)
  if (!is.numeric(y) || !is.null(dim(y)) || length(y) != nrow(env$data)) return()
  y <- y[stats::complete.cases(env$data) & is.finite(y)]
  takes <- switch(family,
    poisson = , nbinom = if (any(y < 0)) "counts of at least 0",
    gamma = , inverse_gaussian = if (any(y <= 0)) "numbers above 0",
    binomial = if (any(y < 0 | y > 1)) "0 and 1, or shares between them with the numbers of trials in weights="
  )
  if (is.null(takes)) return()
  range <- paste("from", signif(min(y), 3), "to", signif(max(y), 3))
  refuse_formula("The outcome ", deparse1(outcome), " has values ", range, "; family '", family, "' takes ", takes, ".")
}

finite <- function(model) {
  if (!all(is.finite(lme4::fixef(model)))) stop("the fit ended at means that are not finite")
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

# As linear_refitter(), by lme4's own steps: the deviance depends on the coefficients too. `change` makes another model
# of it first. Where the fit was given no control the optimizer is NLopt's BOBYQA, as of linear models: it takes a third of
# the evaluations of Nelder and Mead's to the same deviance, and finds coefficients of very different size too.
generalized_refitter <- function(model) {
  usual <- is.null(environment(stats::formula(model))$control)
  stop_at <- list(ftol_abs = 1e-10, xtol_abs = 0, xtol_rel = 1e-8)
  quick <- if (usual) lme4::glmerControl(optimizer = "nloptwrap", optCtrl = stop_at)
  again <- function(model, response) {
    fit <- if (usual) tryCatch(finite(lme4::refit(model, response, control = quick)), error = function(e) NULL)
    if (is.null(fit)) finite(lme4::refit(model, response)) else fit
  }
  starts_at_outcome <- model@resp$family$family == "Gamma"
  # From a response without the rows left out, refit() would take them once more.
  attr(model@frame, "na.action") <- NULL
  # Gaussian outcomes may lie where the link is not defined, so that their family finds no start by itself.
  if (model@resp$family$family == "gaussian") model@frame[["(etastart)"]] <- as.vector(model@resp$eta)
  function(response, change = identity) {
    if (starts_at_outcome) model@frame[["(mustart)"]] <- as.numeric(response)
    fit <- again(change(model), response)
    list(
      theta = lme4::getME(fit, "theta"), spread = sqrt(effect_variance(fit)), sigma = stats::sigma(fit),
      beta = lme4::fixef(fit), V = fixed_covariance(fit)
    )
  }
}
