//go:build !amd64 || noasm

package kernels

func detect() Set { return Plain }
