# What inference of rows L b of the coefficients takes of a fit.

# Coefficients and their covariance, Kenward and Roger's where their df are asked for, and the df of rows of L.
rows_mixed <- function(model, L, ddf) {
  V <- fixed_covariance(model)
  adjusted <- if (ddf == "Kenward-Roger") pbkrtest::vcovAdj(model)
  df <- switch(ddf,
    asymptotic = rep(Inf, nrow(L)),
    `Kenward-Roger` = kenward_roger_row_df(L, V, adjusted),
    Satterthwaite = satterthwaite_row_df(tested_model(model), row_form(L, V), L, NULL)
  )
  list(b = unname(lme4::fixef(model)), V = unname(if (is.null(adjusted)) V else as.matrix(adjusted)), df = df)
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
