# Marginal means and slopes on a reference grid, their contrasts and joint tests, by emmeans.

# Means of the cells of `specs` within `by`, or there the slopes in the variable `trend`, and their contrasts.
# `at` names values of variables. `contrasts` is NULL, a family's name, or a named list of lists of weights with,
# where they were given so, the cells that they belong to; the answer to weights that fit no cells is the cells.
marginal_mixed <- function(model, specs, by = NULL, at = NULL, trend = NULL, contrasts = NULL, adjust = "none",
                           type = "response", level = 0.95, ddf = "Satterthwaite", seed = 1L) {
  restore <- options(emmeans = NULL)
  on.exit(options(restore))
  set_stream(seed)
  grid <- if (is.null(trend)) mean_grid(model, at, ddf) else slope_grid(model, trend, at, type, ddf)
  means <- emmeans::emmeans(grid, if (length(specs)) specs else "1", by = by)
  found <- list(estimates = estimate_table(means, type, level, overall = length(specs) == 0))
  cells <- cell_labels(found$estimates$labels, by)
  if (is.list(contrasts)) {
    if (!all(vapply(contrasts, fits_cells, NA, cells = cells))) return(list(cells = cells))
    contrasts <- lapply(contrasts, cell_weights, cells = cells)
  } else if (length(cells) < 2) {
    contrasts <- NULL
  }
  if (is.null(contrasts)) return(found)
  compared <- emmeans::contrast(means, contrasts, adjust = adjust)
  c(found, list(contrasts = contrast_table(compared, type, level, is_transformed(means))))
}

# Predictions at the levels of all factors, covariates at their means.
mean_grid <- function(model, at, ddf, ...) {
  grid <- do.call(emmeans::ref_grid, c(grid_arguments(model, at, ddf), list(...)))
  if (identical(attr(grid@dffun, "mesg"), "satterthwaite")) with_plain_df(grid, tested_model(model)) else grid
}

# Their difference quotients; those of a transformed outcome on its own scale where `type` asks for it.
slope_grid <- function(model, trend, at, type, ddf) {
  may_transform <- lme4::isGLMM(model) || is.call(stats::formula(model)[[2]])
  back <- type == "response" && may_transform && is_transformed(mean_grid(model, at, ddf))
  arguments <- c(grid_arguments(model, at, ddf), list(var = trend), if (back) list(regrid = "response"))
  grid <- do.call(emmeans::emtrends, arguments)
  if (identical(attr(grid@dffun, "mesg"), "satterthwaite")) with_plain_df(grid, tested_model(model)) else grid
}

# `params` are the names in the formula that are no variables, such as pi. emmeans turns to
# infinite df above 3,000 rows unless told otherwise.
grid_arguments <- function(model, at, ddf) {
  if (ddf == "Satterthwaite" && lme4::isLMM(model)) model <- tested_model(model)
  if (ddf == "Kenward-Roger") loadNamespace("pbkrtest")
  named <- all.vars(stats::delete.response(stats::terms(model)))
  arguments <- list(
    object = model, params = setdiff(named, names(fitted_data(model))),
    lmer.df = tolower(ddf), lmerTest.limit = Inf, pbkrtest.limit = Inf
  )
  if (length(at)) c(arguments, list(at = at)) else arguments
}
