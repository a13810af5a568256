//go:build !amd64 || noasm

package kernels

const acrossWide, acrossLeast = 16, 8

// acrossOf has no functions here.
func acrossOf(int) []acrossFunc { return nil }
