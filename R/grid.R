# Reference grids of a model. emmeans takes names and expressions apart as text, so it is shown a stand-in of the
# model, in which variables, levels and expressions have plain names of ours; it learns of the stand-in as it asks
# packages to teach it, by methods of recover_data() and emm_basis().

# `hook` is done to each grid of it, before slopes are taken.
stand_in <- function(model, ddf, hook = identity) {
  for (generic in c("recover_data", "emm_basis")) {
    registerS3method(generic, "pymer4_stand_in", get(paste0("stand_in_", generic)), asNamespace("emmeans"))
  }
  if (ddf == "Satterthwaite" && lme4::isLMM(model)) model <- with_satterthwaite(model)
  variables <- grid_variables(model)
  structure(
    list(model = model, ddf = ddf, hook = hook, variables = variables, terms = plain_terms(model, variables)),
    class = "pymer4_stand_in"
  )
}

# What emmeans asks of the stand-in: its data, and the design of a grid with estimates, covariance and df.
stand_in_recover_data <- function(object, ...) {
  columns <- lapply(object$variables, `[[`, "column")
  data <- plain_frame(stats::setNames(columns, plain_names(names(columns), object$variables)))
  structure(data, call = quote(stand_in(0)), terms = object$terms, predictors = names(data), responses = character())
}

stand_in_emm_basis <- function(object, trms, xlev, grid, ...) {
  model <- object$model
  terms <- fixed_terms(model)
  contrasts <- attr(lme4::getME(model, "X"), "contrasts")
  X <- stats::model.matrix(terms, rows_of_grid(model, own_rows(object, grid)), contrasts.arg = contrasts)
  b <- lme4::fixef(model)
  basis <- list(X = X, bhat = b, nbasis = estimability::all.estble, V = fixed_covariance(model))
  if (length(b) < ncol(X)) {
    basis$bhat <- replace(stats::setNames(rep(NA_real_, ncol(X)), colnames(X)), names(b), b)
    basis$nbasis <- estimability::nonest.basis(stats::model.matrix(terms, model@frame, contrasts.arg = contrasts))
  }
  basis <- utils::modifyList(basis, df_of(object, basis$V))
  basis$misc <- link_named(model)
  basis$misc$postGridHook <- function(grid, ...) {
    grid@grid$.offset. <- known_part(object, own_rows(object, grid@grid))
    object$hook(grid)
  }
  basis
}

# The model frame of new rows, its factors with the levels of the fit.
rows_of_grid <- function(model, rows) {
  frame <- stats::model.frame(fixed_terms(model), rows, na.action = stats::na.pass)
  known <- fixed_levels(model)
  for (name in names(known)) {
    new <- setdiff(as.character(frame[[name]]), c(known[[name]], NA))
    if (length(new)) stop(name, " has no level ", paste(new, collapse = ", "), " in the fit", call. = FALSE)
    frame[[name]] <- factor(as.character(frame[[name]]), known[[name]])
  }
  frame
}

# The df of a row of coefficients, and what they depend on; Kenward and Roger's come with a covariance.
df_of <- function(object, V) {
  model <- object$model
  if (lme4::isGLMM(model)) return(list(dffun = function(k, dfargs) Inf, dfargs = list()))
  found <- switch(object$ddf,
    asymptotic = list(dffun = function(k, dfargs) Inf, dfargs = list()),
    Satterthwaite = list(dffun = plain_df, dfargs = satterthwaite_of(model)),
    `Kenward-Roger` = {
      adjusted <- pbkrtest::vcovAdj(model)
      list(
        dffun = function(k, dfargs) pbkrtest::Lb_ddf(k, dfargs$unadjusted, dfargs$adjusted),
        dfargs = list(unadjusted = V, adjusted = adjusted), V = as.matrix(adjusted)
      )
    }
  )
  attr(found$dffun, "mesg") <- tolower(object$ddf)
  found
}

# How emmeans calls a link, and what is behind it.
link_named <- function(model) {
  family <- if (lme4::isGLMM(model)) model@resp$family
  if (is.null(family) || family$link == "identity") return(list())
  list(tran = family$link, inv.lbl = switch(family$family, binomial = "prob", poisson = "rate", "response"))
}

# Satterthwaite's df from the model's matrices alone: emmeans asks for them one row at a time.
plain_df <- function(k, dfargs) {
  gradient <- vapply(dfargs$jacobian, function(J) sum(k * (J %*% k)), 0)
  2 * sum(k * (dfargs$V %*% k))^2 / sum(gradient * (dfargs$A %*% gradient))
}

# Predictions at the levels of all factors, covariates at their means; `at` names values of variables.
mean_grid <- function(object, at = list(), ...) {
  do.call(emmeans::ref_grid, list(object = object, at = plain_values(object, at), ...))
}

# Difference quotients of these, taken behind the link where that is `curved`.
slope_grid <- function(object, at, trend, curved, slope) {
  variable <- object$variables[[trend]]
  arguments <- list(object = object, var = variable$name, at = plain_values(object, at))
  grid <- do.call(emmeans::emtrends, c(arguments, if (curved) list(regrid = "response")))
  if (!curved && trend %in% offset_variables(object$model)) {
    # What the offset adds, which emmeans leaves out, by its step.
    step <- diff(range(variable$column)) / 1000
    rows <- own_rows(object, grid@grid)
    further <- replace(rows, trend, list(rows[[trend]] + step))
    grid@grid$.offset. <- slope * (known_part(object, further) - known_part(object, rows)) / step
  }
  grid
}

# The variables of a grid, by their own names: the name that emmeans is told, the column of the rows fitted as it is
# told, and for a factor the texts of its levels there, in which `blank` stands for a blank, and its own values.
grid_variables <- function(model) {
  data <- fitted_data(model)
  made <- unlist(lapply(fixed_expressions(model), function(part) if (part$is_factor) part$columns))
  own <- stats::setNames(nm = intersect(c(all.vars(fixed_terms(model)), offset_column(model)), names(data)))
  texts <- c(own, unlist(lapply(data[own], levels)))
  stem <- "var"
  while (any(grepl(stem, texts, fixed = TRUE))) stem <- paste0(stem, "r")
  # emmeans puts levels together with blanks between, and finds cells by these texts.
  blank <- setdiff(intToUtf8(c(31:28, 8:1), multiple = TRUE), unlist(strsplit(texts, "")))[1]
  Map(function(own, name) {
    column <- data[[own]]
    if (is.logical(column) || is.numeric(column) && !own %in% made) return(list(name = name, column = column))
    levels <- levels(factor(column))
    code <- match(as.character(column), levels)
    texts <- gsub(" ", blank, levels, fixed = TRUE)
    attr(column, "contrasts") <- NULL
    list(
      name = name, column = factor(texts[code], levels = texts), blank = blank, texts = texts,
      values = column[match(seq_along(levels), code)]
    )
  }, own, paste0(stem, seq_along(own), "_"))
}

plain_names <- function(own, variables) vapply(variables[own], `[[`, "", "name", USE.NAMES = FALSE)

fixed_terms <- function(model) stats::delete.response(stats::terms(model))

# The expressions of the fixed part in the order of its terms, those of the offset left out: the columns of the data
# in each, whether it is one, and whether it makes a factor.
fixed_expressions <- function(model) {
  terms <- fixed_terms(model)
  expressions <- as.list(attr(terms, "variables"))[-1]
  names <- variable_names(terms)
  lapply(setdiff(seq_along(expressions), attr(terms, "offset")), function(i) {
    list(
      columns = intersect(all.vars(expressions[[i]]), column_names(model)), is_name = is.name(expressions[[i]]),
      is_factor = is.factor(model@frame[[names[i]]])
    )
  })
}

# The terms of the fixed part, each expression in them a variable or an unknown function of variables: a factor where
# it makes one, or where it is of factors alone, which then stay what they are. One of both kinds is all that they cross
# to.
plain_terms <- function(model, variables) {
  terms <- fixed_terms(model)
  env <- new.env(parent = baseenv())
  parts <- fixed_expressions(model)
  names <- vapply(seq_along(parts), function(i) {
    plain <- plain_names(parts[[i]]$columns, variables)
    if (parts[[i]]$is_name && length(plain)) return(plain)
    factors <- vapply(variables[parts[[i]]$columns], function(variable) !is.null(variable$texts), NA)
    if (any(factors) && !all(factors)) return(paste0("(", paste(plain, collapse = " * "), ")"))
    name <- paste0("f", i)
    env[[name]] <- some_function(parts[[i]]$is_factor || any(factors))
    paste0(name, "(", paste(plain, collapse = ", "), ")")
  }, "")
  crossing <- attr(terms, "factors")
  if (length(crossing)) crossing <- crossing[!seq_len(nrow(crossing)) %in% attr(terms, "offset"), , drop = FALSE]
  labels <- if (length(crossing)) apply(crossing > 0, 2, function(part) paste(names[part], collapse = ":")) else "1"
  stats::terms(stats::reformulate(unname(labels), intercept = attr(terms, "intercept") == 1, env = env))
}

some_function <- function(of_factor) {
  made <- if (of_factor) function(...) factor(character(length(..1))) else function(...) numeric(length(..1))
  environment(made) <- baseenv()
  made
}

# Rows of a grid under the names, and with the values, that the model knows.
own_rows <- function(object, grid) {
  columns <- lapply(object$variables, function(variable) own_values(variable, grid[[variable$name]]))
  plain_frame(columns, .set_row_names(nrow(grid)))
}

own_values <- function(variable, column) {
  if (is.null(variable$texts)) column else variable$values[match(as.character(column), variable$texts)]
}

# `at` as emmeans is told it. The argument offset counts at its mean, also where it has two values.
plain_values <- function(object, at) {
  alone <- setdiff(offset_alone(object$model), names(at))
  at <- c(at, lapply(object$variables[alone], function(variable) mean(variable$column)))
  chosen <- Map(function(variable, values) {
    if (is.null(variable$texts)) return(values)
    own <- if (is.factor(variable$values)) as.character(variable$values) else variable$values
    variable$texts[match(values, own)]
  }, object$variables[names(at)], at)
  stats::setNames(chosen, plain_names(names(at), object$variables))
}

# What is known of the predictor in each row of a grid: the offsets of the formula there, and that of the argument,
# which is at its mean unless it is a column.
known_part <- function(object, rows) {
  model <- object$model
  values <- lapply(offset_expressions(model), eval, rows, environment(stats::formula(model)))
  values <- c(values, rows[offset_column(model)], unclass(offset_mean(model)))
  if (length(values)) Reduce(`+`, values, numeric(nrow(rows)))
}

offset_expressions <- function(model) {
  terms <- fixed_terms(model)
  new_row_calls(terms)[attr(terms, "offset")]
}

offset_mean <- function(model) {
  if (!is.null(model@call$offset) && length(offset_column(model)) == 0) scalar(mean(model@frame[["(offset)"]]))
}

# The column that is the argument offset, if it is one of the user's.
offset_column <- function(model) {
  given <- model@call$offset
  made <- attr(environment(stats::formula(model))$data, "made")
  if (is.name(given)) setdiff(intersect(as.character(given), column_names(model)), made)
}

offset_variables <- function(model) {
  intersect(c(unlist(lapply(offset_expressions(model), all.vars)), offset_column(model)), column_names(model))
}

offset_alone <- function(model) setdiff(offset_column(model), all.vars(fixed_terms(model)))

# What a grid takes for the offset: the values that nobody asked for of the variables in it, and the mean of an
# argument that is no column.
offset_taken <- function(object, grid, at) {
  levels <- lapply(object$variables[setdiff(offset_variables(object$model), names(at))], function(variable) {
    grid@levels[[variable$name]]
  })
  list(values = lapply(levels[lengths(levels) == 1], scalar), mean = offset_mean(object$model))
}

# The rows that were fitted, as they were given.
fitted_data <- function(model) {
  data <- environment(stats::formula(model))$data
  omitted <- attr(model@frame, "na.action")
  if (length(omitted)) data[-omitted, , drop = FALSE] else data
}

column_names <- function(model) names(environment(stats::formula(model))$data)

# Text of emmeans with the names and levels as they are, and what it says and complains of while it computes.
own_text <- function(text, variables) {
  text <- as.character(text)
  for (own in names(variables)) text <- gsub(variables[[own]]$name, own, text, fixed = TRUE)
  for (blank in unique(unlist(lapply(variables, `[[`, "blank")))) text <- gsub(blank, " ", text, fixed = TRUE)
  text
}

in_own_words <- function(variables, expression) {
  words <- function(condition) own_text(conditionMessage(condition), variables)
  withCallingHandlers(
    expression,
    message = function(m) {
      message(words(m), appendLF = FALSE)
      invokeRestart("muffleMessage")
    },
    warning = function(w) {
      warning(words(w), call. = FALSE)
      invokeRestart("muffleWarning")
    },
    error = function(e) if (words(e) != conditionMessage(e)) stop(words(e), call. = FALSE)
  )
}
