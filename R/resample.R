# New responses from a fitted model, and refits to them.

simulate_mixed <- function(model, n, conditional, seed) {
  set_stream(seed)
  if (has_dispersion(model)) {
    draw <- response_drawer(model, conditional)
    return(list(simulations = vapply(seq_len(n), function(i) draw(), numeric(nrow(model@frame)))))
  }
  drawn <- stats::simulate(model, n, re.form = if (conditional) NULL else NA)
  list(simulations = vapply(drawn, as_outcome, numeric(nrow(model@frame)), USE.NAMES = FALSE))
}

# A drawn response as numbers: successes where it counts successes and failures,
# 0 and 1 where it is a factor.
as_outcome <- function(drawn) {
  if (is.matrix(drawn)) drawn <- drawn[, 1]
  if (is.factor(drawn)) as.numeric(drawn) - 1 else as.numeric(drawn)
}

# A function that draws one response for the rows used: around the fitted values, or around the population with random
# effects drawn anew. Not by lme4, which takes the shape of a gamma and of an inverse Gaussian outcome for its inverse's
# root (issue 782 there).
response_drawer <- function(model, conditional) {
  predictor <- predictor_drawer(model, conditional)
  weights <- model@resp$weights
  if (!lme4::isLMM(model)) return(function() draw_outcomes(model, predictor(), weights))
  noise <- stats::sigma(model) / sqrt(weights)
  function() predictor() + noise * stats::rnorm(length(noise))
}

predictor_drawer <- function(model, conditional) {
  if (conditional) {
    fitted <- as.vector(if (lme4::isLMM(model)) model@resp$mu else model@resp$eta)
    return(function() fitted)
  }
  mean <- as.vector(lme4::getME(model, "X") %*% lme4::fixef(model)) + model@resp$offset
  loadings <- lme4::getME(model, "Lambdat") %*% lme4::getME(model, "Zt") * sqrt(effect_variance(model))
  function() mean + as.vector(Matrix::crossprod(loadings, stats::rnorm(nrow(loadings))))
}

# Outcomes whose spread is a parameter of its own.
has_dispersion <- function(model) {
  lme4::isLMM(model) || model@resp$family$family %in% c("gaussian", "Gamma", "inverse.gaussian")
}

bootstrap_mixed <- function(model, seeds) {
  if (is.raw(model)) model <- unserialize(model)
  list(draws = unname(bootstrap_draws(model, seeds)))
}

serialize_model <- function(model) list(bytes = serialize(as_lme4(model), NULL))

# Parametric bootstrap: one row a seed, one column a parameter in the order of
# confint(); a replicate that can't be fitted is a row of NA.
bootstrap_draws <- function(model, seeds) {
  draw <- if (has_dispersion(model)) response_drawer(model, FALSE) else function() stats::simulate(model, 1)[[1]]
  random <- random_parameters(model)
  replicates(model, seeds, limit_names(model), draw, function(fit) {
    c(random(fit$theta, fit$spread), if (has_sigma(model)) fit$sigma, fit$beta)
  })
}

# Fit the model to one response a seed; returns a row of `summary` for each.
replicates <- function(model, seeds, columns, draw, summary) {
  refit <- if (lme4::isLMM(model)) linear_refitter(model) else generalized_refitter(model)
  rows <- vapply(seeds, function(seed) {
    set_stream(seed)
    tryCatch(suppressWarnings(summary(refit(draw()))), error = function(e) rep(NA_real_, length(columns)))
  }, numeric(length(columns)))
  matrix(rows, ncol = length(columns), byrow = TRUE, dimnames = list(NULL, columns))
}

# A function that fits the model to another response, and returns its parameters and the standard
# errors of the coefficients. It works on a deviance function of its own, so the model is left alone
# and nothing is parsed again.
linear_refitter <- function(model) {
  devfun <- direct_deviance(own_deviance(model))
  rho <- environment(devfun)
  start <- deviance_argument(devfun, lme4::getME(model, "theta"))
  df <- nrow(model@frame) - if (lme4::isREML(model)) length(lme4::fixef(model)) else 0
  control <- linear_control(environment(stats::formula(model)))
  function(response) {
    rho$resp$setResp(response)
    optimum <- optimize_deviance(devfun, control, start = start)
    devfun(optimum$par)
    sigma <- sqrt((rho$resp$wrss() + rho$pp$sqrL(1)) / df)
    list(
      theta = rho$pp$theta + 0, spread = sigma, sigma = sigma, beta = rho$pp$beta(1),
      se = sigma * sqrt(diag(rho$pp$unsc()))
    )
  }
}

# lme4 writes into the vectors that a deviance function is made of: this one gets copies.
own_deviance <- function(model) {
  terms <- lme4::getME(model, c("Zt", "Lambdat", "Lind", "theta", "lower", "flist", "cnms", "Gp"))
  terms$theta <- terms$theta + 0
  for (name in c("upper", "reCovs")) terms[[name]] <- attr(model, name)
  terms$Lambdat@x <- terms$Lambdat@x + 0
  frame <- model@frame
  frame[[1]] <- frame[[1]] + 0
  lme4::mkLmerDevfun(frame, lme4::getME(model, "X") + 0, terms, REML = lme4::isREML(model))
}

# The same function without the look-up of its two pointers, a third of what a call takes for a small model.
direct_deviance <- function(devfun) {
  rho <- environment(devfun)
  if (is.null(rho$lmer_Deviance)) return(devfun)
  rho$predictor <- rho$pp$ptr()
  rho$response <- rho$resp$ptr()
  direct <- if (is.null(rho$mkTheta)) {
    function(theta) .Call(lmer_Deviance, predictor, response, as.double(theta))
  } else {
    function(par) .Call(lmer_Deviance, predictor, response, mkTheta(as.double(par)))
  }
  environment(direct) <- rho
  direct
}
