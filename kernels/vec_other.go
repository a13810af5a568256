//go:build !amd64 || noasm

package kernels

func vec() *vecSet { return &plainVec }
