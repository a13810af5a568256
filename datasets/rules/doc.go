// Package rules holds the cleaning rules of the data stage: each takes a document and keeps it, drops it with a reason, the value found and
// the threshold, or repairs its text. Everything here is pure: no Beam, no files, no network.
//
// Rules follow their papers and agree with datatrove document by document: its names of settings, defaults, order of tests and reasons.
// Lengths are Unicode code points; white space, lines and letter case are Python's, as the reference is written in Python. Rules that need
// words or sentences take them from a [Splitter], so that two programs given the same words decide alike.
package rules
