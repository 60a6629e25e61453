# Predictions for new rows; rows with missing values give NA in place.

# `unseen` is "error" or "population": what a group does that the model was not fitted to.
# `n` is the number of rows, for a model that needs no column; `offset` counts on the link scale.
# `interval` is NULL, or a list of
#   kind      "confidence" or "prediction"
#   level     of the limits
#   ddf       "Satterthwaite", "Kenward-Roger" or "asymptotic"
#   adjusted  whether the covariance of the coefficients is Kenward and Roger's
#   weights   of the rows, or NULL
#   outcome   the columns of the outcome that the rows have, or NULL
#   draws, seed  of a simulation
predict_mixed <- function(model, data, n, conditional, type, unseen, offset = 0, interval = NULL) {
  if (length(data) == 0) data <- plain_frame(list(), .set_row_names(n))
  if (conditional && unseen == "error") {
    unknown <- unseen_groups(model, data)
    if (length(unknown)) return(list(unseen = unknown))
  }
  X <- fixed_design(model, data)
  predictor <- offset + fixed_predictor(model, data, X) + (if (conditional) random_predictor(model, data) else 0)
  inverse <- if (type == "link" || lme4::isLMM(model)) identity else model@resp$family$linkinv
  estimate <- list(prediction = inverse(predictor))
  if (is.null(interval)) return(estimate)
  predicted <- interval$kind == "prediction"
  rows <- list(X = X, Z = if (conditional || predicted) random_rows(model, data, conditional))
  limits <- if (lme4::isLMM(model)) {
    linear_limits(model, predictor, rows, conditional, interval)
  } else if (predicted) {
    simulated_limits(model, predictor, rows, conditional, interval)
  } else {
    link_limits(model, predictor, sqrt(link_variance(model, rows, conditional)), type, interval$level)
  }
  c(estimate, limits)
}

# How the outcome runs along a grid: of the population with its Wald band, and of each level of the
# grouping factor `group`, whose random-effects terms begin with the texts `effects`, such as "1 + x |"; `offset` is added
# to all.
predictor_curves <- function(model, grid, group, effects, level, offset = 0) {
  inverse <- if (lme4::isLMM(model)) identity else model@resp$family$linkinv
  X <- fixed_design(model, grid)
  middle <- fixed_predictor(model, grid, X) + offset
  half <- stats::qnorm((1 + level) / 2) * sqrt(rowSums((X %*% fixed_covariance(model)) * X))
  rows <- group_rows(model, group)
  held <- rows[rep(seq_len(nrow(rows)), each = nrow(grid)), , drop = FALSE]
  held[names(grid)] <- lapply(grid, rep, times = nrow(rows))
  grouping <- as_text(if (group %in% column_names(model)) as.name(group) else str2lang(group))
  random <- stats::reformulate(paste0("(", effects, " ", grouping, ")"), env = globalenv())
  curves <- fixed_predictor(model, held) + random_predictor(model, held, random)
  list(
    population = inverse(middle), lower = inverse(middle - half), upper = inverse(middle + half),
    curves = matrix(inverse(curves + offset), nrow(rows), byrow = TRUE)
  )
}

# A row of the data for each level of a grouping factor.
group_rows <- function(model, group) {
  data <- environment(stats::formula(model))$data
  omitted <- attr(model@frame, "na.action")
  used <- if (is.null(omitted)) seq_len(nrow(data)) else seq_len(nrow(data))[-omitted]
  factor <- lme4::getME(model, "flist")[[group]]
  data[used[match(levels(factor), factor)], , drop = FALSE]
}

# x b and the offsets in the formula, which predict() of lme4 takes from the formula as it stands.
fixed_predictor <- function(model, data, X = fixed_design(model, data)) {
  Reduce(`+`, fixed_offsets(model, data), as.vector(X %*% lme4::fixef(model)))
}

fixed_offsets <- function(model, data) {
  terms <- stats::terms(model)
  offsets <- new_row_calls(terms)[attr(terms, "offset")]
  lapply(offsets, function(call) as.vector(eval(call, data, environment(stats::formula(model)))))
}

# z u, 0 for groups that are new; `random` is a formula of some of the random-effects terms, NULL for all.
random_predictor <- function(model, data, random = NULL) {
  as.vector(stats::predict(
    model, newdata = data, re.form = random, random.only = TRUE, type = "link", allow.new.levels = TRUE,
    na.action = stats::na.pass
  ))
}

# Rows of the fixed design for new data, as predict() makes them.
fixed_design <- function(model, data) {
  X <- lme4::getME(model, "X")
  terms <- stats::delete.response(stats::terms(model, fixed.only = TRUE))
  frame <- stats::model.frame(terms, data, na.action = stats::na.pass, xlev = fixed_levels(model))
  full <- stats::model.matrix(terms, frame, contrasts.arg = attr(X, "contrasts"))
  full[, colnames(X), drop = FALSE]
}

# The levels of the factors that stand in a term; one taken out again, as in `. - g`, may have others. Text, which a model
# of ours has none of, was sorted as it was where the model was fitted.
fixed_levels <- function(model) {
  terms <- stats::delete.response(stats::terms(model))
  counts <- rowSums(as.matrix(attr(terms, "factors")))
  frame <- model@frame[variable_names(terms)[counts > 0]]
  factors <- vapply(frame, function(column) is.factor(column) || is.character(column), logical(1))
  labels <- attr(stats::terms(model), "term.labels")
  lapply(setNames(nm = names(frame)[factors]), function(name) {
    column <- frame[[name]]
    if (is.character(column) && name %in% labels) coded_levels(model, name) else levels(as.factor(column))
  })
}

# Levels of each grouping factor in `data` that the fit has not seen, by factor.
unseen_groups <- function(model, data) {
  known <- lme4::getME(model, "flist")
  unseen <- lapply(setNames(nm = names(known)), function(name) {
    setdiff(unique(group_labels(name, data, model)), levels(known[[name]]))
  })
  unseen[lengths(unseen) > 0]
}

# Labels of a grouping such as a, a:b or factor(a), one a row, made as lme4 makes them.
group_labels <- function(name, data, model) {
  if (name %in% names(data)) return(as.character(data[[name]]))
  terms <- stats::terms(model, random.only = TRUE)
  known <- setNames(new_row_calls(terms), variable_names(terms))
  labels <- lapply(crossed_parts(str2lang(name)), function(part) {
    call <- known[[one_line(part)]]
    as.character(eval(if (is.null(call)) part else call, data, environment(stats::formula(model))))
  })
  do.call(paste, c(labels, sep = ":"))
}

crossed_parts <- function(group) {
  if (is.call(group) && identical(group[[1]], quote(`:`))) {
    return(c(crossed_parts(group[[2]]), crossed_parts(group[[3]])))
  }
  list(group)
}
