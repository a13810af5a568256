// Package model reads Hugging Face model folders and wires their forward pass for package nn: one file a family, a row in
// the table of families. A family knows no adapter method; it names its sites by their Hugging Face module paths.
package model
