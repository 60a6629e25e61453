# R's own reading of a formula, for whoever makes a model of it. R parses, so that a name, an operator and a constant
# are what they are in a fit; where random-effects terms are looked for is lme4's rule.

term_operators <- c("+", "-", "*", "/", ":", "^", "%in%", "(")
# R reads `!z + (1 | g)` as !(z + (1 | g)); lme4 looks for bars there too.
searched_operators <- c(term_operators, "!", "&", "&&", "<", ">", "<=", ">=", "==", "!=")
bar_operators <- c("|", "||")
structure_calls <- c("us", "diag", "cs", "ar1")
reserved_constants <- c(
  "TRUE", "FALSE", "NULL", "NA", "NaN", "Inf", "NA_integer_", "NA_real_", "NA_character_", "NA_complex_"
)
coding_names <- c("poly", "helmert", "sum", "treatment", "SAS") # of C(), whatever else they stand for
# A dot that is a name, not in quotes or a comment.
dot_pattern <- paste0(
  "(*UCP)(?:`(?:\\\\.|[^`\\\\])*`|\"(?:\\\\.|[^\"\\\\])*\"|'(?:\\\\.|[^'\\\\])*'|#[^\n]*)(*SKIP)(*F)",
  "|(?<![\\w.])\\.(?![\\w.])"
)

# The parts of a formula with the columns of the data that each uses, and its text with the dot written out; or
#   fault     what is wrong with it, and `word`, the culprit
#   line, column, said  where R knows them: its place, and R's own words
#   unquoted  the columns whose names R does not read bare
read_formula <- function(formula, columns) {
  tryCatch(formula_parts(formula, columns), fault = function(fault) {
    c(told_fault(fault, word_place, formula), list(unquoted = columns[make.names(columns) != columns]))
  })
}

# The names of the arguments that the text between the parentheses of a call gives, or a fault.
read_arguments <- function(text) {
  tryCatch(list(names = argument_names(text)), fault = function(fault) told_fault(fault, argument_place, text))
}

formula_parts <- function(formula, columns) {
  whole <- parsed_text(formula)[[2]]
  check_sides(whole)
  left <- leaves(whole[[2]], FALSE)
  right <- leaves(whole[[3]])
  check_names(left, right, columns)
  if (any(right$names == "." & right$terms)) {
    formula <- write_dot_out(formula, setdiff(columns, left$names))
    whole <- parsed_text(formula)[[2]]
    right <- leaves(whole[[3]])
  }
  random <- lapply(written_bars(whole[[3]]), random_parts, columns)
  # lme4 drops I(a | b), or takes it for a random-effects term, by its version; new rows need a and b all the same.
  beside <- setdiff(intersect(right$names, columns), unlist(lapply(random, `[[`, "columns")))
  c(fixed_parts(whole, columns, beside), list(
    written = scalar(formula), response = response_parts(whole[[2]], columns), random = random,
    functions = right$functions, columns = intersect(c(left$names, right$names), columns)
  ))
}

response_parts <- function(part, columns) {
  counts <- if (head_name(part) == "cbind") vapply(Filter(is.name, as.list(part)[-1]), as.character, "")
  list(
    text = scalar(label_of(part)), columns = columns_in(part, columns), is_column = scalar(is.name(part)),
    counts = counts
  )
}

# What is left without the random-effects terms, and what R makes of it: a term, or the offset, uses the columns of its
# variables, and what is taken out again with `-` is no term. `beside` are more columns that new rows need.
fixed_parts <- function(whole, columns, beside) {
  fixed <- taken_apart("nobars")(stats::as.formula(whole))
  terms <- stats::terms(fixed, allowDotAsName = TRUE)
  used <- lapply(as.list(attr(terms, "variables"))[-1], columns_in, columns)
  of_variables <- function(which) unique(as.character(unlist(used[which])))
  labels <- attr(terms, "term.labels")
  list(
    fixed = union(columns_in(fixed[[3]], columns), beside), offset = of_variables(attr(terms, "offset")),
    terms = lapply(seq_along(labels), function(j) {
      list(label = scalar(labels[j]), columns = of_variables(attr(terms, "factors")[, j] > 0))
    })
  )
}

random_parts <- function(term, columns) {
  bar <- if (is_bar(term)) term else term[[2]]
  list(
    text = scalar(as_text(term)), effects = scalar(as_text(bar[[2]])), varying = columns_in(bar[[2]], columns),
    columns = columns_in(term, columns), correlated = scalar(head_name(bar) == "|" && head_name(term) != "diag"),
    groupings = lapply(crossed_groups(bar[[3]]), function(group) {
      crossed <- all.names(group) %in% c(columns, ":", "/", "(", "*")
      list(label = scalar(label_of(group)), columns = columns_in(group, columns), is_crossing = scalar(all(crossed)))
    })
  )
}

# The groupings that the right of a bar names: a / b stands for a and a:b.
crossed_groups <- function(side) {
  head <- head_name(side)
  if (head == "(") return(crossed_groups(side[[2]]))
  if (!head %in% c("/", "+") || length(side) != 3) return(list(side))
  inner <- if (head == "/") list(call(":", side[[2]], side[[3]])) else crossed_groups(side[[3]])
  c(crossed_groups(side[[2]]), inner)
}

# ------------------------------------------------------------------ trees

head_name <- function(part) if (is.call(part) && is.name(part[[1]])) as.character(part[[1]]) else ""
is_bar <- function(part) head_name(part) %in% bar_operators && length(part) == 3
one_line <- function(part) paste(deparse(part, 500L), collapse = " ")
label_of <- function(part) if (is.name(part)) as.character(part) else as_text(part)

# The random-effects terms as they are written: calls of a bar, or of a structure round one.
written_bars <- function(part) {
  reached(part, searched_operators, function(node) {
    is_bar(node) || (head_name(node) %in% structure_calls && length(node) > 1 && is_bar(node[[2]]))
  })
}

# The outermost parts of an expression of some kind that stand there or below these operators.
reached <- function(part, operators, is_wanted) {
  found <- list()
  walk(list(part), function(item) {
    node <- item[[1]]
    if (!is_wanted(node)) return(if (head_name(node) %in% operators) lapply(as.list(node)[-1], list))
    found <<- c(found, list(node))
    NULL
  })
  found
}

# What R would look up or take as it stands, in the order of the text: not a name after `$`, nor one of a coding, as in
# C(g, sum). `terms` tells of each name whether no function is applied to it, `passed` whether a function may stand
# there, as in ave(x, g, FUN = median) or C(g, contr.sum).
leaves <- function(part, term = TRUE) {
  names <- functions <- constants <- character()
  terms <- passed <- logical()
  walk(list(part, term = term, passed = FALSE), function(item) {
    node <- item[[1]]
    if (is.call(node)) {
      if (!formulaic(node) && !is_path(node)) functions <<- c(functions, label_of(node[[1]]))
      return(below(node, item$term && formulaic(node)))
    }
    if (is.name(node)) {
      names <<- c(names, as.character(node))
      terms <<- c(terms, item$term)
      passed <<- c(passed, item$passed)
    } else if (item$term && as_text(node) %in% reserved_constants) {
      constants <<- c(constants, as_text(node))
    }
    NULL
  })
  list(names = names, terms = terms, passed = passed, constants = constants, functions = unique(functions))
}

# Visit an expression and what is below it in the order of the text. `visit` takes a list that begins with a part, and
# returns those of the parts to go on with. A long formula is a deep tree: no recursion.
walk <- function(item, visit) {
  stack <- list(item)
  top <- 1
  while (top > 0) {
    further <- visit(stack[[top]])
    top <- top - 1 + length(further)
    for (i in seq_along(further)) stack[[top + 1 - i]] <- further[[i]]
  }
}

is_path <- function(call) head_name(call) %in% c("::", ":::")
formulaic <- function(call) head_name(call) %in% c(term_operators, bar_operators, structure_calls)

# The parts of a call that R evaluates, as leaves() walks through them.
below <- function(call, term) {
  head <- head_name(call)
  if (!is.language(call[[1]])) stop_at_fault("no function", as_text(call[[1]]))
  if (is_path(call)) return()
  keyed <- nzchar(names(call))
  kept <- Filter(function(i) !identical(call[[i]], quote(expr = )) && !is_quoted(call, i), seq_along(call)[-1])
  applied <- head == "" || make.names(head) == head
  parts <- lapply(kept, function(i) list(call[[i]], term = term, passed = applied && (i > 2 || isTRUE(keyed[i]))))
  c(if (head == "") list(list(call[[1]], term = FALSE, passed = FALSE)), parts)
}

# Whether an argument of a call is a name that R does not look up: one after `$`, or that of a coding.
is_quoted <- function(call, i) {
  if (i != 3) return(FALSE)
  head <- head_name(call)
  keyword <- names(call)[i]
  coding <- is.name(call[[3]]) && as.character(call[[3]]) %in% coding_names
  head %in% c("$", "@") || (head == "C" && coding && (is.null(keyword) || keyword %in% c("", "contr")))
}

columns_in <- function(part, columns) intersect(leaves(part)$names, columns)

# The text with the columns that `.` stands for in its place.
write_dot_out <- function(text, others) {
  if (!length(others)) return(text)
  plain <- make.names(others) == others
  others[!plain] <- paste0("`", gsub("([\\\\`])", "\\\\\\1", others[!plain]), "`")
  dots <- gregexpr(dot_pattern, text, perl = TRUE)
  regmatches(text, dots) <- list(rep(paste0("(", paste(others, collapse = " + "), ")"), length(dots[[1]])))
  text
}
