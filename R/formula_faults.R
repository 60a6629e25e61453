# What is wrong with a formula, or with a list of arguments, and where: a fault leaves the reading with both.

# What a formula has no use for; in a text it may be spelled in more ways.
statement_names <- c("<-", "<<-", "=", ":=", "?", "function", "if", "for", "while", "repeat", "next", "break")
statement_words <- c(statement_names, "->", "->>", "\\")
constant_names <- c("T", "F", "pi", "LETTERS", "letters", "month.abb", "month.name")

check_sides <- function(whole) {
  if (!"~" %in% all.names(whole)) stop_at_fault("no tilde", c("=", "<-"))
  if (any(called_functions(whole) %in% statement_names)) stop_at_fault("statement", statement_words)
  if (head_name(whole) != "~") stop_at_fault("no sides", "~")
  if (length(whole) == 2) stop_at_fault("no outcome", "~")
  beyond <- c(searched_operators, bar_operators, "~")
  is_tilde <- function(node) head_name(node) == "~"
  if (length(unlist(lapply(as.list(whole)[-1], reached, beyond, is_tilde)))) stop_at_fault("two tildes", "~", Inf)
  terms <- written_bars(whole[[3]])
  for (i in seq_along(terms)) {
    bar <- if (is_bar(terms[[i]])) terms[[i]] else terms[[i]][[2]]
    inner <- lengths(lapply(as.list(bar)[-1], reached, beyond, is_bar)) > 0
    if (any(inner)) stop_at_fault("bar in bar", bar_operators, if (inner[1]) i else i + 1)
    if (as_text(bar[[2]]) %in% c("0", "-1")) stop_at_fault("no effect", bar_operators, i, said = as_text(terms[[i]]))
  }
  if (!length(terms)) stop_at_fault("no random term")
}

check_names <- function(left, right, columns) {
  for (word in right$constants) {
    if (word %in% columns || !word %in% c("TRUE", "FALSE", "NULL")) stop_at_fault("constant", word)
  }
  names <- c(left$names, right$names)
  passed <- c(left$passed, right$passed)
  dots <- names == "." & c(left$terms, right$terms)
  for (i in which(!names %in% c(columns, constant_names) & !dots)) {
    if (passed[i] && exists(names[i], globalenv(), mode = "function")) next
    stop_at_fault("no column", names[i], sum(names[seq_len(i)] == names[i]))
  }
}

argument_names <- function(text) {
  call <- parsed_text(text, "list")
  names <- if (is.null(names(call))) rep("", length(call) - 1) else names(call)[-1]
  empty <- vapply(seq_along(names), function(i) identical(call[[i + 1]], quote(expr = )), NA)
  if (length(names) > 1 && !nzchar(names[length(names)]) && empty[length(names)]) stop_at_fault("end")
  for (i in seq_along(names)) {
    if (!nzchar(names[i])) stop_at_fault("no name", "", i)
    if (empty[i]) stop_at_fault("no value", names[i], i)
    if (names[i] %in% names[seq_len(i - 1)]) stop_at_fault("twice", names[i], i)
  }
  names
}

# Leave with what is wrong, at the nth place of one of these words, or at the nth argument.
stop_at_fault <- function(fault, words = character(), nth = 1, place = NULL, said = NULL) {
  stop(structure(class = c("fault", "error", "condition"), list(
    message = fault, call = NULL, told = list(fault = fault, word = words[1], said = said), words = words, nth = nth,
    place = place
  )))
}

told_fault <- function(fault, find, text) {
  place <- if (length(fault$words)) find(text, fault$words, fault$nth) else fault$place
  lapply(c(Filter(length, fault$told), place), scalar)
}

# ------------------------------------------------------------------ text

# What a text is between parentheses, where R reads on over the ends of lines.
parsed_text <- function(text, head = "") {
  parsed <- tryCatch(str2lang(enclosed(text, head)), error = function(e) {
    said <- strsplit(conditionMessage(e), "\n")[[1]][1]
    place <- as.integer(regmatches(said, regexec("^<[a-z]+>:([0-9]+):([0-9]+)", said))[[1]][-1])
    stop_at_fault(
      "unreadable", place = if (length(place)) list(line = place[1] - 1L, column = place[2]),
      said = sub(" *\\(<.*>:[0-9:]+\\)$", "", said)
    )
  })
  if (head_name(parsed) != if (nzchar(head)) head else "(") stop_at_fault("unreadable")
  parsed
}

enclosed <- function(text, head = "") paste0(head, "(\n", text, "\n)")

# Where one of these words stands for the nth time as a name, a constant or an operator.
word_place <- function(text, words, nth) {
  tokens <- utils::getParseData(parse(text = enclosed(text), keep.source = TRUE))
  spelled <- c(words, vapply(lapply(words, as.name), as_text, ""))
  others <- c("SYMBOL_FUNCTION_CALL", "SYMBOL_SUB", "SYMBOL_PACKAGE", "SLOT", "STR_CONST", "EQ_SUB", "COMMENT")
  found <- tokens[tokens$terminal & tokens$text %in% spelled & !tokens$token %in% others, ]
  place_of(found[min(nth, nrow(found)), ])
}

argument_place <- function(text, words, nth) {
  tokens <- utils::getParseData(parse(text = enclosed(text, "list"), keep.source = TRUE))
  inside <- tokens[tokens$parent == tokens$id[tokens$parent == 0], ][-(1:2), ]
  place_of(inside[c(1, which(inside$token == "','") + 1)[nth], ])
}

place_of <- function(token) if (nrow(token)) list(line = token$line1 - 1L, column = token$col1)
