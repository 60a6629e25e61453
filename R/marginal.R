# Marginal means and slopes on a reference grid, their contrasts and joint tests, by emmeans.

# Means of the cells of `specs` within `by`, or there the slopes in the variable `trend`, and their contrasts.
# `at` names values of variables. `contrasts` is NULL, a family's name, or a named list of lists of weights with,
# where they were given so, the cells that they belong to; the answer to weights that fit no cells is the cells.
# `grid` is one that was made before, for the same `at`, `trend` and `ddf`.
marginal_mixed <- function(model, specs, by = NULL, at = NULL, trend = NULL, contrasts = NULL, adjust = "none",
                           type = "response", level = 0.95, ddf = "Satterthwaite", seed = 1L, grid = NULL) {
  set_stream(seed)
  grid <- if (is.null(grid)) marginal_grid(model_with_df(model, ddf), ddf, at, trend, type) else said_again(grid)
  means <- emmeans::emmeans(grid, if (length(specs)) specs else "1", by = by)
  transformed <- is_transformed(means)
  estimates <- marginal_table(means, type, level, transformed, c(TRUE, FALSE))
  if (length(specs) == 0) estimates$labels <- estimates$labels[names(estimates$labels) != "1"]
  cells <- cell_labels(estimates)
  if (is.list(contrasts)) {
    if (!all(vapply(contrasts, fits_cells, NA, cells = cells))) return(list(cells = cells))
    contrasts <- lapply(contrasts, cell_weights, cells = cells)
  } else if (length(cells) < 2) {
    contrasts <- NULL
  }
  compared <- if (!is.null(contrasts)) emmeans::contrast(means, contrasts, adjust = adjust)
  list(
    grid = grid, estimates = estimates,
    contrasts = if (!is.null(compared)) marginal_table(compared, type, level, transformed, c(TRUE, TRUE))
  )
}

# F tests of the terms of the fixed part, covariates one unit to either side of their means: a table as
# emmeans::joint_tests() makes it, and the values of `by` for each row.
joint_mixed <- function(model, by = NULL, ddf = "Satterthwaite") {
  # emmeans rounds the hypotheses that it tells to as many digits as R prints.
  restore <- options(digits = 15L)
  on.exit(options(restore))
  grid <- mean_grid(model_with_df(model, ddf), ddf, held_offset(model), cov.reduce = function(x) mean(x) + c(-1, 1))
  grid <- without_offset(grid)
  tests <- emmeans::joint_tests(grid, by = by)
  columns <- unclass(tests)
  exact <- exact_tests(grid, columns[["model term"]], columns[["df1"]], attr(tests, "est.fcns"))
  f <- ifelse(is.na(exact$f), columns[["F.ratio"]], exact$f)
  df2 <- ifelse(is.na(exact$df), columns[["df2"]], exact$df)
  list(
    labels = columns[by], terms = as.character(columns[["model term"]]),
    values = list(df1 = columns[["df1"]], df2 = df2, f = f, chisq = f * columns[["df1"]], p = columns[["p.value"]]),
    notes = as.character(attr(tests, "mesg"))
  )
}

# Where emmeans rounds F to 3 and df to 2 places: both from the hypotheses themselves, an orthonormal
# matrix a row of the table. NA where they are not told, as of what is confounded.
exact_tests <- function(grid, terms, df1, hypotheses) {
  estimated <- !is.na(grid@bhat)
  f <- df <- rep(NA_real_, length(terms))
  for (term in names(hypotheses)) {
    rows <- which(terms == term)
    found <- hypotheses[[term]]
    if (is.matrix(found)) found <- list(found)
    if (!identical(as.numeric(vapply(found, nrow, 0L)), as.numeric(df1[rows]))) next
    for (i in seq_along(rows)) {
      L <- found[[i]][, estimated, drop = FALSE]
      b <- L %*% grid@bhat[estimated]
      f[rows[i]] <- sum(b * solve(L %*% grid@V %*% t(L), b)) / nrow(L)
      df[rows[i]] <- min(apply(L, 1, function(k) grid@dffun(k, grid@dfargs)))
    }
  }
  list(f = f, df = df)
}

# The variables of the fixed part: factors with their levels; covariates with their values where these are two
# at most, which a reference grid keeps as levels, else with none.
marginal_variables <- function(model) {
  data <- fitted_data(model)
  terms <- stats::delete.response(stats::terms(model))
  variables <- as.list(attr(terms, "variables"))[-1]
  counts <- if (length(attr(terms, "factors"))) rowSums(attr(terms, "factors")) else numeric(length(variables))
  variables <- variables[counts > 0 | seq_along(variables) %in% attr(terms, "offset")]
  columns <- vapply(variables, function(variable) paste(deparse(variable, 500L), collapse = " "), "")
  made <- variables[vapply(model@frame[columns], is.factor, NA)]
  used <- setNames(nm = intersect(unlist(lapply(variables, all.vars)), names(data)))
  is_factor <- vapply(used, function(name) is_categorical(data[[name]]) || name %in% unlist(lapply(made, all.vars)), NA)
  values <- lapply(used, function(name) {
    column <- data[[name]]
    if (is.factor(column)) levels(droplevels(column)) else sort(unique(as.vector(column)))
  })
  list(
    factors = values[is_factor],
    covariates = lapply(values[!is_factor], function(found) if (length(found) > 2) numeric() else as.numeric(found))
  )
}

# The rows that were fitted, as they were given.
fitted_data <- function(model) {
  data <- environment(stats::formula(model))$data
  omitted <- attr(model@frame, "na.action")
  if (length(omitted)) data[-omitted, , drop = FALSE] else data
}

# A grid that keeps what was said while it was made.
marginal_grid <- function(model, ddf, at, trend, type) {
  said <- character()
  grid <- withCallingHandlers(
    if (is.null(trend)) mean_grid(model, ddf, at) else slope_grid(model, ddf, at, trend, type),
    message = function(m) said <<- c(said, conditionMessage(m))
  )
  grid@misc$said <- said
  grid
}

said_again <- function(grid) {
  for (text in grid@misc$said) message(text, appendLF = FALSE)
  grid
}

# Predictions at the levels of all factors, covariates at their means.
mean_grid <- function(model, ddf, at = NULL, ...) {
  arguments <- c(grid_arguments(model, ddf, at), list(...))
  with_plain_df(without_name_warnings(do.call(emmeans::ref_grid, arguments), model), model)
}

# Difference quotients of these, of a transformed outcome on its own scale where `type` asks for that.
slope_grid <- function(model, ddf, at, trend, type) {
  may_transform <- lme4::isGLMM(model) || is.call(stats::formula(model)[[2]])
  back <- type == "response" && may_transform && is_transformed(mean_grid(model, ddf, at))
  arguments <- c(grid_arguments(model, ddf, at), list(var = trend), if (back) list(regrid = "response"))
  without_offset(with_plain_df(without_name_warnings(do.call(emmeans::emtrends, arguments), model), model))
}

# emmeans 1.8 takes an offset for one more predictor, and then fails at slopes and at joint tests, neither of which
# it has a part in.
without_offset <- function(grid) {
  grid@grid$.offset. <- grid@levels$.offset. <- NULL
  grid@roles$predictors <- setdiff(grid@roles$predictors, ".offset.")
  grid
}

# One value each for the offset and for the variables that it alone uses.
held_offset <- function(model) {
  terms <- stats::delete.response(stats::terms(model))
  own <- attr(terms, "offset")
  if (is.null(own) && !"(offset)" %in% names(model@frame)) return(NULL)
  variables <- as.list(attr(terms, "variables"))[-1]
  named <- function(expressions) unlist(lapply(expressions, all.vars))
  alone <- setdiff(named(variables[own]), named(variables[setdiff(seq_along(variables), own)]))
  data <- fitted_data(model)
  c(list(.offset. = 0), lapply(data[intersect(alone, names(data))], mean))
}

# `params` are names in the formula that are no variables, such as pi. Without limits emmeans keeps
# its df above 3,000 rows.
grid_arguments <- function(model, ddf, at) {
  if (ddf == "Kenward-Roger") loadNamespace("pbkrtest")
  named <- all.vars(stats::delete.response(stats::terms(model)))
  arguments <- list(
    object = model, params = setdiff(named, names(fitted_data(model))),
    lmer.df = tolower(ddf), lmerTest.limit = Inf, pbkrtest.limit = Inf
  )
  if (lme4::isGLMM(model)) arguments$vcov. <- fixed_covariance(model)
  if (length(at)) c(arguments, list(at = with_all_levels(at, model))) else arguments
}

# emmeans 1.8 looks for the levels of a factor such as `my var` under its quoted name, finds none, and takes
# those in `at` for all there are.
with_all_levels <- function(at, model) {
  data <- fitted_data(model)
  for (name in intersect(names(at), quoted_names(data))) {
    if (is.factor(data[[name]])) at[[name]] <- factor(at[[name]], levels = levels(droplevels(data[[name]])))
  }
  at
}

quoted_names <- function(data) names(data)[make.names(names(data)) != names(data)]

# The value of an expression, without what emmeans warns of when it does not find those levels.
without_name_warnings <- function(expression, model) {
  quoted <- sprintf("`%s`", quoted_names(fitted_data(model)))
  spurious <- gettextf("variable '%s' is not a factor", quoted, domain = "R-stats")
  withCallingHandlers(expression, warning = function(w) {
    if (conditionMessage(w) %in% spurious) invokeRestart("muffleWarning")
  })
}

model_with_df <- function(model, ddf) if (ddf == "Satterthwaite" && lme4::isLMM(model)) tested_model(model) else model

# Satterthwaite's df from the model's matrices alone: emmeans asks for them one row at a time.
with_plain_df <- function(grid, model) {
  if (!identical(attr(grid@dffun, "mesg"), "satterthwaite")) return(grid)
  df <- function(k, dfargs) {
    gradient <- vapply(dfargs$jacobian, function(J) sum(k * (J %*% k)), 0)
    2 * sum(k * (dfargs$V %*% k))^2 / sum(gradient * (dfargs$A %*% gradient))
  }
  environment(df) <- baseenv()
  grid@dffun <- structure(df, mesg = "satterthwaite")
  grid@dfargs <- list(V = model@vcov_beta, jacobian = model@Jac_list, A = model@vcov_varpar)
  grid
}

is_transformed <- function(grid) !is.null(grid@misc$tran)

# A summary of emmeans, a value a row: `labels`, what each row is, and `values`, under names of their own.
marginal_table <- function(object, type, level, transformed, infer) {
  shown <- summary(object, infer = infer, type = type, level = level)
  columns <- unclass(shown)
  n_labels <- length(setdiff(names(object@grid), c(object@roles$responses, ".offset.", ".wgt.")))
  labels <- columns[seq_len(n_labels)]
  found <- columns[-seq_len(n_labels)]
  by <- as.character(attr(shown, "by.vars"))
  # Beside ratios the summary writes text in the place of every label.
  if (nrow(object@grid) == nrow(shown)) labels[by] <- object@grid[by]
  limits <- attr(shown, "clNames")
  statistic <- intersect(c("t.ratio", "z.ratio"), names(found))
  values <- list(
    estimate = found[[attr(shown, "estName")]], lower = found[[limits[1]]], upper = found[[limits[2]]],
    se = found[["SE"]], df = found[["df"]]
  )
  if (infer[2]) values <- c(values, list(statistic = found[[statistic]], p = found[["p.value"]]))
  undone <- !transformed || !is.null(attr(shown, "linkname"))
  list(
    labels = labels, values = lapply(values, as.numeric), by = by, name = scalar(attr(shown, "estName")),
    scale = scalar(if (type == "response" && undone) "response" else "link"),
    adjust = scalar(attr(shown, "adjust")), z = scalar(identical(statistic, "z.ratio")),
    notes = as.character(attr(shown, "mesg"))
  )
}

# What the cells compared are called, in the largest group: their levels with a blank between.
cell_labels <- function(estimates) {
  labels <- lapply(estimates$labels, as.character)
  specs <- setdiff(names(labels), estimates$by)
  if (length(specs) == 0) return("")
  groups <- do.call(paste, c(list(rep("", length(labels[[1]]))), unname(labels[estimates$by])))
  largest <- groups == names(which.max(table(groups)))
  do.call(paste, unname(lapply(labels[specs], function(label) label[largest])))
}

fits_cells <- function(contrast, cells) {
  if (is.null(contrast$cells)) length(contrast$weights) == length(cells) else all(contrast$cells %in% cells)
}

# Cells that are not named have weight 0.
cell_weights <- function(contrast, cells) {
  if (is.null(contrast$cells)) return(contrast$weights)
  weights <- contrast$weights[match(cells, contrast$cells)]
  replace(weights, is.na(weights), 0)
}
