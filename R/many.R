# The same model for many outcomes, on one deviance function.

# Coefficients with their standard errors and df, variances, the log-likelihood, and how each fit ended, one row an
# outcome, which are the columns of a matrix; NA and a reason where there is none. They are of some `rows` of the data,
# and so are the weights; design and groups are those of all rows, but for columns that are not in `terms`.
fit_outcomes <- function(formula, data, outcomes, terms, rows, weights = NULL, offset = NULL, REML = TRUE,
                         control = NULL, contrasts = NULL, ddf = "Satterthwaite") {
  for (name in names(contrasts)) data[[name]] <- with_contrasts(data[[name]], contrasts[[name]])
  env <- model_environment(data, make_control(control, lme4::lmerControl))
  outcome <- column_in(env, as.numeric(seq_along(data[[1]])), ".outcome")
  call <- model_call(formula, env, NULL, offset)
  call$formula[[2]] <- as.name(outcome)
  refuse_unknown_functions(call$formula)
  if (!REML) call$REML <- FALSE
  control <- linear_control(env)
  parts <- parse_model(call, env, control)
  parts <- at_rows(parts, match(rows, parts$fr[[1]]), terms)
  call$formula <- parts$formula
  parts$formula <- NULL
  parts$fr[["(weights)"]] <- weights
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
  width <- 3 * length(terms) + sum(lengths(parts$reTrms$cnms)) + 4
  reasons <- character(ncol(outcomes))
  values <- vapply(seq_len(ncol(outcomes)), function(i) {
    tryCatch(suppressWarnings(suppressMessages(one(outcomes[, i]))), error = function(e) {
      reasons[i] <<- conditionMessage(e)
      rep(NA_real_, width)
    })
  }, numeric(width))
  list(values = matrix(values, ncol(outcomes), width, byrow = TRUE), reasons = reasons)
}

# The parts of a model on some rows, with some columns of X.
at_rows <- function(parts, rows, terms) {
  known <- attributes(parts$fr)
  parts$fr <- parts$fr[rows, , drop = FALSE]
  attr(parts$fr, "terms") <- known$terms
  parts$X <- parts$X[rows, match(terms, colnames(parts$X)), drop = FALSE]
  assigned <- attr(parts$reTrms$flist, "assign")
  parts$reTrms$flist <- lapply(parts$reTrms$flist, `[`, rows)
  attr(parts$reTrms$flist, "assign") <- assigned
  parts$reTrms$Zt <- parts$reTrms$Zt[, rows, drop = FALSE]
  parts
}
