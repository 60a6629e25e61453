# Numbers as plain text: a header that says which software made them, then one value a line with 17 digits.

header <- function(more = character(), packages = c("lme4", "lmerTest", "Matrix", "numDeriv", "minqa", "nloptr", more)) {
  versions <- vapply(packages, function(package) as.character(utils::packageVersion(package)), "")
  c(
    paste("# R", getRversion()),
    paste("#", packages, versions),
    paste("# BLAS", basename(extSoftVersion()[["BLAS"]])),
    paste("# LAPACK", La_version()),
    paste("# platform", R.version$platform)
  )
}

# A table in long form; vectors and matrices without names are numbered. `by` has the group of each row, where there
# are groups.
long <- function(case, table, value, by = NULL) {
  if (length(value) == 0) return(NULL)
  value <- as.matrix(value)
  names_of <- function(names, n) if (is.null(names)) seq_len(n) else names
  text <- if (is.numeric(value)) sprintf("%.17g", value) else as.character(value)
  columns <- list(
    case = rep(case, length(text)), table = rep(table, length(text)), by = if (!is.null(by)) rep_len(by, length(text)),
    row = rep(names_of(rownames(value), nrow(value)), ncol(value)),
    column = rep(names_of(colnames(value), ncol(value)), each = nrow(value)), value = c(text)
  )
  as.data.frame(columns[lengths(columns) > 0])
}

# A vector of many values: the first of them under their names, and two sums that no error passes.
cut_long <- function(value, kept) {
  value <- as.matrix(value)
  rbind(utils::head(value, kept), `(sum)` = colSums(value), `(sum of squares)` = colSums(value^2))
}

write_long <- function(path, header, parts) {
  columns <- lapply(do.call(rbind, parts), function(text) {
    open <- grep("[\",\n]", text)
    text[open] <- paste0('"', gsub('"', '""', text[open], fixed = TRUE), '"')
    text
  })
  writeLines(c(header, paste(names(columns), collapse = ","), do.call(paste, c(columns, sep = ","))), path)
}

# The value of an expression, with the warnings and messages that R gave on the way.
listen <- function(expression) {
  said <- list(warning = character(), message = character())
  value <- withCallingHandlers(
    expression,
    warning = function(w) {
      said$warning <<- c(said$warning, conditionMessage(w))
      invokeRestart("muffleWarning")
    },
    message = function(m) {
      said$message <<- c(said$message, sub("\n$", "", conditionMessage(m)))
      invokeRestart("muffleMessage")
    }
  )
  list(value = value, said = said)
}
