// Package guard gives tests memory that ends, or begins, at a page which may not be touched, so that code which reads or writes past a
// slice dies at once. Assembly is not checked by the compiler; this checks it.
package guard

import "testing"

// Side says where the forbidden page lies.
type Side bool

// The sides of a slice.
const (
	After  Side = false
	Before Side = true
)

// Float32 returns n zeros with a forbidden page right after them, or right before. The memory is given back when the test ends. On systems
// without memory protection it is ordinary memory.
func Float32(t testing.TB, n int, side Side) []float32 {
	t.Helper()
	if n == 0 {
		return nil
	}
	return alloc(t, n, side)
}
