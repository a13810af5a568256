//go:build !amd64 || noasm

package kernels

func detect() processor { return processor{} }
