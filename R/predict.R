# Predictions for new rows; rows with missing values give NA in place.

# `unseen` is "error" or "population": what a group does that the model was not fitted to.
predict_mixed <- function(model, data, conditional, type, unseen) {
  if (conditional && unseen == "error") {
    unknown <- unseen_groups(model, data)
    if (length(unknown)) return(list(unseen = unknown))
  }
  prediction <- stats::predict(
    model, newdata = data, re.form = if (conditional) NULL else NA, type = type, allow.new.levels = TRUE,
    na.action = stats::na.pass
  )
  list(prediction = as.vector(prediction))
}

# Rows of the fixed design for new data, as predict() makes them.
fixed_design <- function(model, data) {
  X <- lme4::getME(model, "X")
  frame <- stats::model.frame(
    stats::delete.response(stats::terms(model, fixed.only = TRUE)), data, na.action = stats::na.pass,
    xlev = fixed_levels(model)
  )
  full <- stats::model.matrix(stats::delete.response(stats::terms(model, fixed.only = TRUE)), frame,
    contrasts.arg = attr(X, "contrasts")
  )
  list(X = matrix(full[, colnames(X)], nrow(full)))
}

fixed_levels <- function(model) {
  frame <- stats::model.frame(model, fixed.only = TRUE)
  factors <- vapply(frame, function(column) is.factor(column) || is.character(column), logical(1))
  lapply(frame[factors], function(column) levels(as.factor(column)))
}

# Levels of each grouping factor in `data` that the fit has not seen, by factor.
unseen_groups <- function(model, data) {
  known <- lme4::getME(model, "flist")
  unseen <- lapply(setNames(nm = names(known)), function(name) {
    setdiff(group_labels(name, data), levels(known[[name]]))
  })
  unseen[lengths(unseen) > 0]
}

# Labels of a grouping such as a, a:b or factor(a), made as lme4 makes them.
group_labels <- function(name, data) {
  if (name %in% names(data)) return(unique(as.character(data[[name]])))
  labels <- lapply(crossed_parts(str2lang(name)), function(part) as.character(eval(part, data, globalenv())))
  unique(do.call(paste, c(labels, sep = ":")))
}

crossed_parts <- function(group) {
  if (is.call(group) && identical(group[[1]], quote(`:`))) {
    return(c(crossed_parts(group[[2]]), crossed_parts(group[[3]])))
  }
  list(group)
}
