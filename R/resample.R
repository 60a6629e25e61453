# New responses from a fitted model, and refits to them.

# One response a column, for the rows used: successes where the outcome counts successes and failures.
simulate_mixed <- function(model, n, conditional, seed) {
  set_stream(seed)
  draw <- response_drawer(model, conditional)
  drawn <- vapply(seq_len(n), function(i) draw(), numeric(nrow(model@frame)))
  list(simulations = if (is.matrix(model@frame[[1]])) round(drawn * model@resp$weights) else drawn)
}

# A function that draws one response for the rows used, proportions for a binomial model: around the fitted values, or
# around the population with random effects drawn anew. Not by lme4, which goes back to the data and their rows, and
# takes the shape of a gamma and of an inverse Gaussian outcome for its inverse's root (issue 782 there).
response_drawer <- function(model, conditional) {
  predictor <- predictor_drawer(model, conditional)
  weights <- model@resp$weights
  if (lme4::isLMM(model)) {
    noise <- stats::sigma(model) / sqrt(weights)
    return(function() predictor() + noise * stats::rnorm(length(noise)))
  }
  if (model@resp$family$family != "binomial") return(function() draw_outcomes(model, predictor(), weights))
  trials <- whole_trials(weights)
  function() replace(draw_outcomes(model, predictor(), trials), trials == 0, 0)
}

whole_trials <- function(weights) {
  trials <- round(weights)
  if (any(abs(weights - trials) > 1e-8)) {
    stop("no outcome can be drawn: the prior weights of a binomial model have to be whole numbers of trials")
  }
  trials
}

are_whole <- function(values) all(abs(values - round(values)) <= 1e-3)

# Where each outcome lies among `n` draws from the model with new random effects: how many are less, equal, and there
# at all; and the means of the population. NULL in their place where the outcome has no distribution to draw from: counts
# that are not whole, by the measure of glm().
simulated_ranks <- function(model, n, seed) {
  trials <- if (model@resp$family$family == "binomial") model@resp$weights else rep_len(1, length(model@resp$y))
  discrete <- is_discrete(model)
  if (discrete && !(are_whole(trials) && are_whole(model@resp$y * trials))) return(list(population = NULL))
  whole <- if (discrete) function(values) round(values * trials) else identity
  outcome <- whole(model@resp$y)
  set_stream(seed)
  draw <- response_drawer(model, FALSE)
  less <- equal <- drawn <- numeric(length(outcome))
  for (i in seq_len(n)) {
    values <- whole(draw())
    less <- less + (!is.na(values) & values < outcome)
    equal <- equal + (!is.na(values) & values == outcome)
    drawn <- drawn + !is.na(values)
  }
  list(
    population = model@resp$family$linkinv(population_predictor(model)), less = less, equal = equal,
    drawn = replace(drawn, trials == 0, 0)
  )
}

# x b and the offset, of the rows used.
population_predictor <- function(model) {
  as.vector(lme4::getME(model, "X") %*% lme4::fixef(model)) + model@resp$offset
}

predictor_drawer <- function(model, conditional) {
  if (conditional) {
    fitted <- as.vector(if (lme4::isLMM(model)) model@resp$mu else model@resp$eta)
    return(function() fitted)
  }
  mean <- population_predictor(model)
  loadings <- lme4::getME(model, "Lambdat") %*% lme4::getME(model, "Zt") * sqrt(effect_variance(model))
  function() mean + as.vector(Matrix::crossprod(loadings, stats::rnorm(nrow(loadings))))
}

# For other processes, which need no more of it than lme4 does.
serialize_model <- function(model) list(bytes = serialize(as_lme4(model), NULL))

# Parametric bootstrap: a row for each seed, one column a parameter in the order of confint(); and their names.
bootstrap_mixed <- function(model, seeds) {
  drawn <- response_drawer(model, FALSE)
  trials <- if (is.matrix(model@frame[[1]])) whole_trials(model@resp$weights)
  draw <- function() if (is.null(trials)) drawn() else counted_trials(drawn(), trials)
  random <- random_parameters(model)
  names <- limit_names(model)
  made <- replicates(model, seeds, length(names), draw, function(fit) {
    c(random(fit$theta, fit$spread), if (has_sigma(model)) fit$sigma, fit$beta)
  })
  c(made, list(names = names))
}

# Successes and failures.
counted_trials <- function(share, trials) {
  successes <- round(share * trials)
  cbind(successes, trials - successes)
}

# Fit the model to one response a seed; `values` has a row of `summary` for each. One that can't be fitted is a row of
# NA, and `reasons` says why, "" for the others. A draw depends on its own seed alone.
replicates <- function(model, seeds, width, draw, summary, refit = refitter(model)) {
  reasons <- character(length(seeds))
  one <- function(i) {
    set_stream(seeds[i])
    response <- draw()
    if (anyNA(response)) stop("the link gives means that the family does not have, so no outcome can be drawn")
    row <- suppressWarnings(summary(refit(response)))
    if (all(is.na(row))) stop("the fit has no estimates")
    row
  }
  rows <- vapply(seq_along(seeds), function(i) {
    tryCatch(one(i), error = function(e) {
      reasons[i] <<- conditionMessage(e)
      rep(NA_real_, width)
    })
  }, numeric(width))
  list(values = matrix(rows, length(seeds), width, byrow = TRUE), reasons = reasons)
}

# The covariance that they give is for permutations: of a generalized model the Hessian is left out of it here.
refitter <- function(model) {
  if (lme4::isLMM(model)) return(linear_refitter(model))
  model@optinfo["derivs"] <- list(NULL)
  generalized_refitter(model)
}

# A function that fits the model to another response, and returns its parameters and the covariance
# of the coefficients. It works on a deviance function of its own, so the model is left alone
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
      theta = rho$pp$theta + 0, spread = sigma, sigma = sigma, beta = rho$pp$beta(1), V = sigma^2 * rho$pp$unsc()
    )
  }
}

# lme4 writes into the vectors that a deviance function is made of: this one gets copies. Another design may be given, and
# what is `known` of the outcome is taken off.
own_deviance <- function(model, X = lme4::getME(model, "X"), known = 0) {
  terms <- lme4::getME(model, c("Zt", "Lambdat", "Lind", "theta", "lower", "flist", "cnms", "Gp"))
  terms$theta <- terms$theta + 0
  for (name in c("upper", "reCovs")) terms[[name]] <- attr(model, name)
  terms$Lambdat@x <- terms$Lambdat@x + 0
  frame <- model@frame
  frame[[1]] <- frame[[1]] - known
  lme4::mkLmerDevfun(frame, X + 0, terms, REML = lme4::isREML(model))
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
