# Marginal means and slopes on a reference grid, their contrasts and joint tests, by emmeans.

# Means of the cells of `specs` within `by`, or there the slopes in the variable `trend`, and their contrasts.
# `at` names values of variables. `contrasts` is NULL, a family's name, or a named list of lists of weights with,
# where they were given so, the levels of the cells that they belong to; the answer to weights that fit no cells is
# which, and the cells. `made` is the grid that was returned for the same `ddf`, without `at` and `trend`.
marginal_mixed <- function(model, specs, by = NULL, at = NULL, trend = NULL, contrasts = NULL, adjust = "none",
                           type = "response", level = 0.95, ddf = "Satterthwaite", seed = 1L, made = NULL) {
  set_stream(seed)
  outcome <- fitted_outcome(model)
  scale <- if (outcome$known) type else "link"
  if (is.null(made)) made <- marginal_grid(model, ddf, at, trend, outcome, scale) else say(made$said)
  variables <- made$variables
  specs <- if (length(specs)) plain_names(specs, variables) else "1"
  in_own_words(variables, {
    grid <- if (is.null(trend)) on_scale(made$grid, outcome, scale) else made$grid
    means <- emmeans::emmeans(grid, specs, by = if (length(by)) plain_names(by, variables))
    table <- function(object, infer) {
      marginal_table(object, variables, scale, level, infer, transformed = !is.null(means@misc$tran))
    }
    estimates <- table(means, c(TRUE, FALSE))
    cells <- cells_compared(estimates)
    misfit <- if (is.list(contrasts)) misfit(contrasts, cells)
    if (!is.null(misfit)) return(c(misfit, list(cells = cells$levels)))
    object <- if (is.list(contrasts) || length(contrasts) && length(cells$labels) > 1) {
      cell_contrasts(means, cells, contrasts, adjust)
    }
    compared <- if (!is.null(object)) table(object, c(TRUE, TRUE))
    slope <- grid_slope(outcome, scale)
    rows <- function(object, table) marginal_rows(object, table, lme4::fixef(model), slope, made$behind)
    quantities <- list(estimates = rows(means, estimates), contrasts = if (!is.null(object)) rows(object, compared))
    if (is.list(contrasts)) compared$contrast <- rep_len(names(contrasts), length(compared$contrast))
    # A straight line is undone without a trace.
    if (outcome$text != "" && scale == "response" && estimates$name == "emmean") estimates$name <- scalar("response")
    list(
      grid = made, estimates = estimates, contrasts = compared, offset = made$offset,
      outcome = scalar(outcome$text), undone = scalar(outcome$known), quantities = quantities
    )
  })
}

# F tests of the terms of the fixed part, covariates one unit to either side of their means: a table as
# emmeans::joint_tests() makes it, and the values of `by` for each row. An offset has no part in them.
joint_mixed <- function(model, by = NULL, ddf = "Satterthwaite") {
  # emmeans rounds the hypotheses that it tells to as many digits as R prints.
  restore <- options(digits = 15L)
  on.exit(options(restore))
  object <- stand_in(model, ddf)
  variables <- object$variables
  in_own_words(variables, {
    around <- function(x) mean(x) + c(-1, 1)
    known <- setdiff(offset_variables(model), unlist(lapply(fixed_expressions(model), `[[`, "columns")))
    at <- lapply(setNames(nm = known), function(name) (if (name %in% by) around else mean)(variables[[name]]$column))
    grid <- mean_grid(object, at, cov.reduce = around)
    grid@grid$.offset. <- NULL
    tests <- emmeans::joint_tests(grid, by = if (length(by)) plain_names(by, variables))
    columns <- unclass(tests)
    exact <- exact_tests(grid, columns[["model term"]], columns[["df1"]], attr(tests, "est.fcns"), plain_names(by, variables))
    f <- ifelse(is.na(exact[, "f"]), columns[["F.ratio"]], exact[, "f"])
    df2 <- ifelse(is.na(exact[, "df"]), columns[["df2"]], exact[, "df"])
    p <- ifelse(columns[["model term"]] == confounded_term, pf(f, columns[["df1"]], df2, lower.tail = FALSE), columns[["p.value"]])
    list(
      labels = lapply(variables[by], function(variable) own_values(variable, columns[[variable$name]])),
      terms = own_text(columns[["model term"]], variables),
      values = list(df1 = columns[["df1"]], df2 = df2, f = f, chisq = f * columns[["df1"]], p = p),
      notes = own_text(attr(tests, "mesg"), variables)
    )
  })
}

confounded_term <- "(confounded)"

# Where emmeans rounds F to 3 and df to 2 places: both from the hypotheses themselves, an orthonormal
# matrix a row of the table, by level of `by` where there is one. NA where they are not told.
exact_tests <- function(grid, terms, df1, hypotheses, by) {
  estimated <- !is.na(grid@bhat)
  tested <- function(L) {
    L <- L[, estimated, drop = FALSE]
    b <- L %*% grid@bhat[estimated]
    c(f = sum(b * solve(L %*% grid@V %*% t(L), b)) / nrow(L), df = min(apply(L, 1, function(k) grid@dffun(k, grid@dfargs))))
  }
  levels_of <- function(found) if (is.matrix(found)) list(found) else found
  exact <- matrix(NA_real_, length(terms), 2, dimnames = list(NULL, c("f", "df")))
  put <- function(exact, term, values, sizes) {
    rows <- which(terms == term)
    if (identical(as.numeric(sizes), as.numeric(df1[rows]))) exact[rows, ] <- t(values)
    exact
  }
  for (term in names(hypotheses)) {
    found <- levels_of(hypotheses[[term]])
    exact <- put(exact, term, vapply(found, tested, numeric(2)), vapply(found, nrow, 0L))
  }
  if (!confounded_term %in% terms) return(exact)
  # What all cells differ in, less what the terms tell of it.
  size <- function(L) if (nrow(L)) nrow(L) * tested(L)[["f"]] else 0
  whole <- levels_of(attr(emmeans::test(emmeans::contrast(grid, "consec", by = if (length(by)) by), joint = TRUE), "est.fcns"))
  rest <- vapply(seq_along(whole), function(i) {
    place <- if (length(whole) > 1) names(whole)[i] else 1L
    parts <- lapply(hypotheses, function(found) levels_of(found)[[place]])
    parts <- qr(t(do.call(rbind, c(list(whole[[i]][0, , drop = FALSE]), parts))))
    told <- t(qr.Q(parts)[, seq_len(parts$rank), drop = FALSE])
    k <- nrow(whole[[i]]) - nrow(told)
    c((size(whole[[i]]) - size(told)) / k, tested(whole[[i]])[["df"]], k)
  }, numeric(3))
  rest <- rest[, rest[3, ] > 0, drop = FALSE]
  put(exact, confounded_term, rest[1:2, , drop = FALSE], rest[3, ])
}

# The variables of the fixed part and of the offset: factors with their levels; covariates with their values where
# these are two at most, which a reference grid keeps as levels, else with none.
marginal_variables <- function(model) {
  variables <- grid_variables(model)
  values <- lapply(variables, function(variable) {
    if (is.factor(variable$values)) return(as.character(variable$values))
    if (is.null(variable$values)) sort(unique(as.vector(variable$column))) else variable$values
  })
  is_factor <- vapply(variables, function(variable) is_categorical(variable$column), NA)
  covariates <- lapply(values[!is_factor], function(found) if (length(found) > 2) numeric() else as.numeric(found))
  covariates[offset_alone(model)] <- list(numeric())
  list(factors = values[is_factor], covariates = covariates)
}

# A grid, with what it calls the variables, what was said while it was made, and what it takes for the offset.
marginal_grid <- function(model, ddf, at, trend, outcome, scale) {
  sloped <- !is.null(trend)
  last <- NULL
  object <- stand_in(model, ddf, function(grid) {
    last <<- if (outcome$own) with_inverse(grid, outcome) else if (sloped) on_scale(grid, outcome, scale) else grid
  })
  curved <- !is.null(outcome$tran) || lme4::isGLMM(model) && model@resp$family$link != "identity"
  curved <- sloped && scale == "response" && curved
  slope <- grid_slope(outcome, scale)
  said <- character()
  grid <- withCallingHandlers(
    in_own_words(object$variables, {
      if (sloped) slope_grid(object, at, trend, curved, slope) else mean_grid(object, at)
    }),
    message = function(m) said <<- c(said, conditionMessage(m))
  )
  list2env(list(
    grid = grid, variables = object$variables, said = said, offset = offset_taken(object, grid, at),
    behind = if (curved) last
  ))
}

say <- function(texts) for (text in texts) message(text, appendLF = FALSE)

# A summary of emmeans, a value a row: `labels`, the variables, `contrast`, what contrasts are called, and `values`.
marginal_table <- function(object, variables, type, level, infer, transformed) {
  shown <- summary(object, infer = infer, type = type, level = level)
  columns <- unclass(shown)
  # Beside ratios the summary writes text in the place of every variable.
  grid <- object@grid
  shown_rows <- rows_shown(object)
  there <- Filter(function(variable) !is.null(grid[[variable$name]]), variables)
  there <- there[order(match(vapply(there, `[[`, "", "name"), names(grid)))]
  name <- setdiff(names(grid), c("1", ".offset.", ".wgt.", vapply(there, `[[`, "", "name")))
  limits <- attr(shown, "clNames")
  statistic <- intersect(c("t.ratio", "z.ratio"), names(columns))
  values <- list(
    estimate = columns[[attr(shown, "estName")]], lower = columns[[limits[1]]], upper = columns[[limits[2]]],
    se = columns[["SE"]], df = columns[["df"]]
  )
  if (infer[2]) values <- c(values, list(statistic = columns[[statistic]], p = columns[["p.value"]]))
  undone <- !transformed || !is.null(attr(shown, "linkname"))
  list(
    labels = lapply(there, function(variable) own_values(variable, grid[[variable$name]][shown_rows])),
    contrast = if (length(name)) own_text(columns[[name]], variables), values = lapply(values, as.numeric),
    by = names(there)[vapply(there, `[[`, "", "name") %in% attr(shown, "by.vars")],
    name = scalar(attr(shown, "estName")), scale = scalar(if (type == "response" && undone) "response" else "link"),
    adjust = scalar(attr(shown, "adjust")), z = scalar(identical(statistic, "z.ratio")),
    notes = own_text(attr(shown, "mesg"), variables)
  )
}

rows_shown <- function(object) {
  n <- nrow(object@grid)
  if (length(object@misc$display) == n) which(object@misc$display) else seq_len(n)
}

# The estimates of a table as rows of L b and what is added to them, NA where they can't be estimated, which `undo` carries
# to their scale; and the family of tests of each. Slopes behind a link, differences of the responses of the grid `behind`,
# are no such rows: L has their derivatives, and `curve` what they are made of.
marginal_rows <- function(object, table, b, slope, behind) {
  W <- object@linfct[rows_shown(object), !is.na(object@bhat), drop = FALSE]
  undo <- if (table$scale == "response") undoing(object@misc$tran)
  L <- slope * W
  known <- if (is.null(object@grid$.offset.)) 0 else object@grid$.offset.[rows_shown(object)]
  curve <- NULL
  if (!is.null(behind)) {
    there <- rows_shown(behind)[!is.na(object@bhat)]
    curve <- list(
      W = W, X = slope * behind@linfct[there, !is.na(behind@bhat), drop = FALSE], known = behind@grid$.offset.[there],
      undo = undoing(behind@misc$tran)
    )
    if (is.null(curve$known)) curve$known <- 0
    L <- W %*% (curve$undo$mu.eta(as.vector(curve$X %*% b) + curve$known) * curve$X)
    known <- table$values$estimate - as.vector(L %*% b)
  }
  L[is.na(table$values$estimate), ] <- NA
  list(
    L = unname(L), known = known + numeric(nrow(L)), undo = if (!is.null(undo)) list2env(undo),
    curve = if (!is.null(curve)) list2env(curve), df = if (!is.null(curve)) table$values$df, family = families(table)
  )
}

# What undoes the scale of a grid of emmeans, given by a name of its own or as functions of ours; beyond its end an inverse
# has its last value there.
undoing <- function(tran) {
  if (is.null(tran) || is.list(tran)) return(tran)
  above <- function(inverse, slope) {
    list(linkinv = function(eta) inverse(pmax(0, eta)), mu.eta = function(eta) slope(pmax(0, eta)))
  }
  power <- function(base) list(linkinv = function(eta) base^eta, mu.eta = function(eta) base^eta * log(base))
  switch(tran,
    sqrt = above(function(z) z^2, function(z) 2 * z), inverse = above(function(z) 1 / z, function(z) -1 / z^2),
    `1/mu^2` = above(function(z) 1 / sqrt(z), function(z) -1 / (2 * z^1.5)), log2 = power(2), log10 = power(10),
    log1p = list(linkinv = expm1, mu.eta = exp), log.o.r. = stats::make.link("log"), stats::make.link(tran)
  )
}

# What is behind numbers on the scale of the coefficients, or its slope there.
undo_scale <- function(undo, eta, slope) list(values = as.vector(if (slope) undo$mu.eta(eta) else undo$linkinv(eta)))

# Slopes behind a link, a row for each row of coefficients.
slopes_of <- function(curve, b) {
  eta <- tcrossprod(curve$X, b) + curve$known
  eta[] <- curve$undo$linkinv(as.vector(eta))
  list(values = unname(t(curve$W %*% eta)))
}

# The combination of the levels of `by` that each row of a table belongs to, by a number.
families <- function(table) {
  groups <- lapply(unname(table$labels[table$by]), function(label) match(label, unique(label)))
  groups <- if (length(groups)) do.call(paste, groups) else character(length(table$values$estimate))
  match(groups, unique(groups))
}

# The cells compared, those of the largest group, the first of equally large ones: their levels, a column a variable,
# and these in one text.
cells_compared <- function(estimates) {
  groups <- families(estimates)
  largest <- groups == which.max(tabulate(groups))
  levels <- lapply(estimates$labels[setdiff(names(estimates$labels), estimates$by)], function(label) label[largest])
  texts <- unname(lapply(levels, as.character))
  # A separator that tells all cells apart, where there is one.
  for (between in c(" ", ", ", " | ")) {
    labels <- if (length(texts)) do.call(paste, c(texts, sep = between)) else character(sum(largest))
    if (!anyDuplicated(labels)) break
  }
  list(levels = levels, labels = labels, between = between)
}

# The name of a contrast that does not fit the cells, and its weight that has none, 0 for a wrong number of weights.
misfit <- function(contrasts, cells) {
  for (name in names(contrasts)) {
    given <- contrasts[[name]]
    wrong <- if (!is.null(given$cells)) {
      which(is.na(vapply(given$cells, cell_row, 0L, cells)))[1]
    } else if (length(given$weights) != length(cells$labels)) {
      0L
    }
    if (length(wrong) && !is.na(wrong)) return(list(contrast = scalar(name), cell = scalar(wrong)))
  }
}

# The place of a cell that is given by the text of its levels, or by these in one text.
cell_row <- function(given, cells) {
  same <- if (length(given) == length(cells$levels)) {
    Reduce(`&`, Map(is_level, cells$levels, given))
  } else {
    length(given) == 1 & cells$labels == given[1]
  }
  if (sum(same) == 1) which(same) else NA_integer_
}

# Numbers are matched as numbers.
is_level <- function(levels, text) {
  same <- as.character(levels) == text
  number <- suppressWarnings(as.numeric(text))
  if (any(same) || is.na(number) || is.logical(levels)) return(same)
  values <- if (is.numeric(levels)) levels else suppressWarnings(as.numeric(as.character(levels)))
  !is.na(values) & abs(values - number) <= 1e-14 * abs(number)
}

# Contrasts of a family, or those of given weights, 0 for a cell that is not named.
cell_contrasts <- function(means, cells, contrasts, adjust) {
  restore <- options(emmeans = c(getOption("emmeans"), sep = cells$between))
  on.exit(options(restore))
  if (is.list(contrasts)) {
    contrasts <- lapply(contrasts, function(given) {
      if (is.null(given$cells)) return(given$weights)
      replace(numeric(length(cells$labels)), vapply(given$cells, cell_row, 0L, cells), given$weights)
    })
  }
  # Differences are not undone by a link of ours, of which emmeans is told no more than the name.
  if (is.list(means@misc$tran)) means@misc$tran <- means@misc$tran$name
  emmeans::contrast(means, contrasts, adjust = adjust)
}
