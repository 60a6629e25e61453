# The same model for many outcomes, on one deviance function.

# Coefficients with their standard errors and df, variances, the log-likelihood, and how each fit ended, one row an
# outcome, which are the columns of a matrix; NA and a reason where there is none. `offset` is a vector or NULL.
fit_outcomes <- function(formula, data, outcomes, weights = NULL, offset = NULL, REML = TRUE, control = NULL,
                         contrasts = NULL, ddf = "Satterthwaite") {
  data <- lapply(data, function(column) if (is.factor(column)) droplevels(column) else column)
  for (name in names(contrasts)) {
    whole <- nlevels(data[[name]]) == nrow(contrasts[[name]]$matrix)
    if (whole) data[[name]] <- with_contrasts(data[[name]], contrasts[[name]])
  }
  env <- model_environment(as.data.frame(data, check.names = FALSE, optional = TRUE), make_control(control, lme4::lmerControl))
  outcome <- column_in(env, outcomes[, 1], ".outcome")
  call <- model_call(formula, env, weights, offset)
  call$formula[[2]] <- as.name(outcome)
  refuse_unknown_functions(call$formula)
  if (!REML) call$REML <- FALSE
  control <- linear_control(env)
  parts <- parse_model(call, env, control)
  call$formula <- parts$formula
  parts$formula <- NULL
  devfun <- do.call(lme4::mkLmerDevfun, c(parts, list(start = NULL, verbose = 0L, control = control)))
  rho <- environment(devfun)
  start <- deviance_argument(devfun, rho$pp$theta)
  one <- function(response) {
    rho$resp$setResp(response)
    optimum <- optimize_deviance(devfun, control, start = start)
    devfun(optimum$par)
    parts$fr[[1]] <- response
    model <- lme4::mkMerMod(rho, optimum, parts$reTrms, fr = parts$fr, mc = call)
    if (ddf == "Satterthwaite") model <- with_satterthwaite(model, devfun)
    moments <- coefficient_moments(model, ddf)
    c(
      lme4::fixef(model), moments$se, moments$df, variance_tables(model)$variances$variance,
      as.numeric(stats::logLik(model)), lme4::isSingular(model), identical(as.integer(optimum$conv), 0L)
    )
  }
  p <- ncol(parts$X)
  width <- 3 * p + sum(lengths(parts$reTrms$cnms)) + 4
  reasons <- character(ncol(outcomes))
  rows <- vapply(seq_len(ncol(outcomes)), function(i) {
    tryCatch(suppressWarnings(suppressMessages(one(outcomes[, i]))), error = function(e) {
      reasons[i] <<- conditionMessage(e)
      rep(NA_real_, width)
    })
  }, numeric(width))
  list(values = matrix(rows, ncol(outcomes), width, byrow = TRUE), reasons = reasons, terms = colnames(parts$X))
}
