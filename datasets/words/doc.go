// Package words cuts text into words and sentences, as the rules of package rules and MinHash want them: a word is what spaCy's blank
// pipeline of the language makes a token, so that decisions agree with datatrove, which uses it. White space separates words and is none.
//
// A text is cut at white space; each piece loses prefixes and suffixes (marks, currencies, units after digits), exceptions ("cannot",
// "e.g.") are cut in their own way or not at all, what looks like a URL stays whole, and the rest is cut at infixes (a hyphen between
// letters). A sentence ends after marks such as ".", "!" or "。" that are words of their own.
package words
