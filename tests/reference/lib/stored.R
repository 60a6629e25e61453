# Questions put to models that another process has saved, and to plain fits of the same cases:
# `Rscript tests/reference/lib/stored.R folder` reads folder/<case>.rds and writes folder/stored.csv.
# What follows an @ in a name says how the model was made, if otherwise than the case file has it.

source("tests/reference/lib/frames.R")
source("tests/reference/lib/tables.R")
source("tests/reference/lib/fits.R")
suppressMessages(library(lmerTest))

answers <- function(case, model) {
  term <- attr(stats::terms(model), "term.labels")[1]
  p <- length(fixef(model))
  rise <- diag(p)[2, ]
  without <- stats::as.formula(sprintf(". ~ . - %s", term))
  marginal <- stats::as.formula(paste("~", term))
  new_outcome <- case_data(case)[[all.vars(stats::formula(model))[1]]]^2 / 100
  found <- list(
    summary = coef(summary(model)),
    kenward_roger = coef(summary(model, ddf = "Kenward-Roger")),
    anova_3 = anova(model),
    anova_1 = anova(model, type = 1),
    contest = contest(model, diag(p)[-1, , drop = FALSE]),
    contest_rows = contest(model, diag(p), joint = FALSE),
    contest_1d = contest1D(model, rise, confint = TRUE),
    ranova = where_data_are(quote(ranova(model)), model),
    drop1 = drop1(model),
    update = coef(summary(update(model, without))),
    update_ml = coef(summary(update(model, REML = FALSE))),
    compared = as.data.frame(suppressMessages(anova(model, update(model, without)))),
    refit = coef(summary(refit(model, new_outcome))),
    emmeans = as.data.frame(emmeans::emmeans(model, marginal)),
    emmeans_satterthwaite = as.data.frame(emmeans::emmeans(model, marginal, lmer.df = "satterthwaite")),
    means = if (any(attr(stats::terms(model), "dataClasses")[term] == "factor")) as.data.frame(ls_means(model)),
    predict = predict(model, utils::head(case_data(case), 10), na.action = stats::na.omit),
    influence = utils::head(cooks.distance(model), 10),
    profile = if (length(getME(model, "theta")) == 1) confint(profile(model, which = "theta_"))
  )
  found[lengths(found) > 0]
}

# ranova() evaluates the call of a model without random effects where it is called from itself.
where_data_are <- function(call, model) eval(call, list(model = model), environment(stats::formula(model)))

as_numbers <- function(table) {
  if (is.data.frame(table)) table <- table[vapply(table, is.numeric, TRUE)]
  as.matrix(table)
}

# The environments from the formula's up to the global one: what they hold, and whether any of it is a function.
chain <- function(model) {
  env <- environment(stats::formula(model))
  rows <- NULL
  while (!identical(env, globalenv()) && !identical(env, emptyenv())) {
    names <- ls(env, all.names = TRUE)
    rows <- rbind(rows, cbind(name = names, kind = vapply(names, function(name) class(env[[name]])[1], "")))
    env <- parent.env(env)
  }
  rbind(rows, c(environmentName(env), "environment"))
}

file_size <- function(model) {
  path <- tempfile()
  on.exit(unlink(path))
  saveRDS(model, path)
  file.size(path)
}

plain <- new.env()

plain_fit <- function(case) {
  if (is.null(plain$fits[[case$id]])) plain$fits[[case$id]] <- fit_case(case)$value
  plain$fits[[case$id]]
}

plain_answers <- function(case) {
  if (is.null(plain$answers[[case$id]])) plain$answers[[case$id]] <- answers(case, plain_fit(case))
  plain$answers[[case$id]]
}

folder <- commandArgs(TRUE)[1]
cases <- read_cases("tests/reference/linear_cases.csv")
ids <- sub("\\.rds$", "", list.files(folder, "\\.rds$"))
parts <- lapply(ids, function(id) {
  case <- cases[cases$id == sub("@.*", "", id), ]
  saved <- readRDS(file.path(folder, paste0(id, ".rds")))
  tell <- function(found, side) {
    Map(function(table, name) long(id, paste(side, name), as_numbers(table)), found, names(found))
  }
  size <- c(saved = file_size(saved), plain = file_size(plain_fit(case)))
  c(
    list(long(id, "class", class(saved)), long(id, "chain", chain(saved)), long(id, "size", size)),
    tell(answers(case, saved), "saved"), tell(plain_answers(case), "plain")
  )
})
write_long(file.path(folder, "stored.csv"), header(), unlist(parts, recursive = FALSE))
