//go:build unix && !linux

package mem

func advise([]byte) {}
