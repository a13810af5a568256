// Package examples holds programs that use adaptflow as a library, a folder each. Its test builds and runs them.
package examples
