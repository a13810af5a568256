//go:build !amd64 || noasm

package kernels

func tileOf(Set) tileFunc { return tilePlain }

// transpose has no faster way here than the loop of packPanel.
func transpose(dst, src []float32, rows, cols, stride int) bool { return false }
