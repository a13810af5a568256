//go:build !unix

package mem

func reserve(n int) []byte { return make([]byte, n) }
func whole([]byte)         {}
func release([]byte)       {}
