# What inference of rows L b of the coefficients takes of a fit.

# The covariance of the coefficients, Kenward and Roger's where their df are asked for, and the df of rows of L.
rows_mixed <- function(model, L, ddf) {
  V <- fixed_covariance(model)
  adjusted <- if (ddf == "Kenward-Roger") pbkrtest::vcovAdj(model)
  df <- switch(ddf,
    asymptotic = rep(Inf, nrow(L)),
    `Kenward-Roger` = kenward_roger_row_df(L, V, adjusted),
    Satterthwaite = satterthwaite_row_df(model, row_form(L, V), L, NULL)
  )
  list(V = unname(if (is.null(adjusted)) V else as.matrix(adjusted)), df = as.numeric(df))
}

# All parameters in the order of confint(), as bootstrap_mixed() has them.
parameters_mixed <- function(model) {
  random <- random_parameters(model)(lme4::getME(model, "theta"), sqrt(effect_variance(model)))
  estimates <- c(random, if (has_sigma(model)) stats::sigma(model), lme4::fixef(model))
  list(estimates = unname(estimates), names = limit_names(model))
}

# The design of rows and what is known of their predictor beside x b, as predict_mixed() has both.
prediction_rows <- function(model, data, n, conditional, unseen, offset) {
  if (length(data) == 0) data <- plain_frame(list(), .set_row_names(n))
  known <- offset + Reduce(`+`, fixed_offsets(model, data), numeric(nrow(data)))
  if (conditional) known <- known + random_predictor(model, data)
  list(X = matrix(fixed_design(model, data), nrow(data)), known = known)
}

# Those of the rows fitted.
fitted_rows <- function(model) {
  list(X = matrix(lme4::getME(model, "X"), nrow(model@frame)), known = as.vector(model@resp$offset))
}

# What errors that are robust within clusters take: the design, y - X b, prior weights (NULL for none), Z Lambda by its
# elements that are not 0, and the groups of each grouping factor.
working_mixed <- function(model) {
  X <- matrix(lme4::getME(model, "X"), nrow(model@frame))
  loadings <- methods::as(Matrix::t(lme4::getME(model, "Lambdat") %*% lme4::getME(model, "Zt")), "TsparseMatrix")
  weights <- model@resp$weights
  list(
    X = X, e = as.vector(model@resp$y - model@resp$offset - X %*% lme4::fixef(model)),
    weights = if (any(weights != 1)) weights, rows = loadings@i, columns = loadings@j, values = loadings@x,
    groups = lapply(lme4::getME(model, "flist"), as.integer)
  )
}
