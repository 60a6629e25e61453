# Marginal means, slopes, contrasts and joint tests by emmeans alone, written to marginal.csv:
# `Rscript tests/reference/marginal.R [folder]` from the root of the repository. The questions are those of
# marginal_cases.csv, put to the models of marginal_models.csv.

source("tests/reference/lib/data.R")
source("tests/reference/lib/tables.R")
source("tests/reference/lib/mixed.R")
suppressMessages({
  library(lmerTest)
  library(emmeans)
})

answer <- function(case, model) {
  tell <- function(...) long(case$id, ...)
  df <- tolower(if (nzchar(case$ddf)) case$ddf else fitted_ddf(case$model))
  common <- list(object = model, lmer.df = df, lmerTest.limit = Inf, pbkrtest.limit = Inf)
  # ?mvtnorm::pmvt draws at random.
  set.seed(1)
  if (case$verb == "joint_tests") {
    found <- do.call(joint_tests, c(common, by = listed(case$by)))
    columns <- unclass(found)
    return(list(tell("joint", joint_table(columns), groups_of(columns, listed(case$by)))))
  }
  means <- do.call(if (is_slope(case)) emtrends else emmeans, c(common, grid_of(case)))
  kind <- if (case$verb == "post_hoc") "link" else case$type
  told <- list(shown(means, tell, "estimates", c(TRUE, FALSE), kind))
  wanted <- if (case$verb == "post_hoc") "pairwise" else chosen(case$contrasts)
  if (is.null(wanted)) return(told)
  compared <- contrast(means, wanted, adjust = adjustment(case$adjust))
  c(told, list(shown(compared, tell, "contrasts", c(TRUE, TRUE), kind)))
}

fitted_ddf <- function(id) if (nzchar(models[[id]]$ddf)) models[[id]]$ddf else "Satterthwaite"

is_slope <- function(case) case$verb == "emtrends" || (case$verb == "post_hoc" && case$specs == "nitro")

# What emmeans() or emtrends() gets; post_hoc() makes slopes of a covariate in the groups of the first variable.
grid_of <- function(case) {
  specs <- listed(case$specs)
  by <- listed(case$by)
  at <- lapply(chosen(case$at), function(values) if (all(grepl("^[0-9.]+$", values))) as.numeric(values) else values)
  if (case$verb == "post_hoc" && is_slope(case)) return(list(specs = by[1], var = specs, by = if (length(by) > 1) by[-1]))
  c(
    list(specs = if (length(specs)) specs else ~1), if (length(by)) list(by = by), if (length(at)) list(at = at),
    if (case$verb == "emtrends") list(var = case$var),
    if (case$verb == "emtrends" && case$type == "response" && is_transformed(case$model)) list(regrid = "response")
  )
}

is_transformed <- function(id) !is.null(ref_grid(fits[[id]], lmer.df = "asymptotic")@misc$tran)

listed <- function(text) if (nzchar(text)) strsplit(text, ";", fixed = TRUE)[[1]]

# `a:1;2|b:x` is a list of vectors by name, numbers where they are weights; text without a colon is itself.
chosen <- function(text) {
  if (!nzchar(text)) return(NULL)
  if (!grepl(":", text, fixed = TRUE)) return(text)
  parts <- strsplit(strsplit(text, "|", fixed = TRUE)[[1]], ":", fixed = TRUE)
  values <- lapply(parts, function(part) utils::type.convert(strsplit(part[2], ";")[[1]], as.is = TRUE))
  names(values) <- vapply(parts, `[`, "", 1)
  values
}

adjustment <- function(text) switch(text, bonf = "bonferroni", dunnet = "dunnettx", text)

shown <- function(object, tell, table, infer, type) {
  found <- summary(object, infer = infer, type = type)
  columns <- unclass(found)
  limits <- attr(found, "clNames")
  groups <- groups_of(columns, attr(found, "by.vars"))
  statistic <- intersect(c("t.ratio", "z.ratio"), names(columns))
  values <- cbind(
    estimate = columns[[attr(found, "estName")]], lower = columns[[limits[1]]], upper = columns[[limits[2]]],
    se = columns[["SE"]], df = columns[["df"]]
  )
  if (infer[2]) values <- cbind(values, statistic = columns[[statistic]], p = columns[["p.value"]])
  labels <- setdiff(attr(found, "pri.vars"), "1")
  if (length(labels)) rownames(values) <- labels_of(columns, labels)
  kind <- c(name = attr(found, "estName"), adjust = attr(found, "adjust"))
  rbind(tell(table, values, groups), tell(paste(table, "are"), kind, ""))
}

labels_of <- function(columns, names) do.call(paste, c(lapply(columns[names], as.character), sep = "|"))

groups_of <- function(columns, by) if (length(by)) labels_of(columns, by) else ""

joint_table <- function(columns) {
  values <- with(columns, cbind(df1 = df1, df2 = df2, f = F.ratio, p = p.value))
  rownames(values) <- columns[["model term"]]
  values
}

# The linear model of the vignette "Basics of estimated marginal means", which has no grouping.
vignette <- function() {
  plain <- stats::lm(log(conc) ~ source + factor(percent), data = named_data("pigs"))
  tell <- function(...) long("pigs_lm", ...)
  parts <- lapply(c("source", "percent"), function(variable) {
    means <- emmeans(plain, variable)
    compared <- contrast(means, "pairwise")
    list(
      shown(means, tell, paste(variable, "estimates"), c(TRUE, FALSE), "response"),
      shown(compared, tell, paste(variable, "contrasts"), c(TRUE, TRUE), "response")
    )
  })
  unlist(parts, recursive = FALSE)
}

folder <- c(commandArgs(TRUE), "tests/reference")[1]
models <- read_rows("tests/reference/marginal_models.csv")
cases <- read_rows("tests/reference/marginal_cases.csv")
fits <- lapply(models, function(row) fit_row(row)$value)
parts <- lapply(cases, function(case) suppressMessages(answer(case, fits[[case$model]])))
write_long(
  file.path(folder, "marginal.csv"), header(c("emmeans", "pbkrtest", "mvtnorm")),
  c(unlist(parts, recursive = FALSE), vignette())
)
