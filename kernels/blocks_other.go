//go:build !amd64 || noasm

package kernels

import "github.com/adaptflow/adaptflow/internal/ggml"

func expandWide(*ggml.Format, []float32, []byte) bool { return false }

func expandHalf(*ggml.Format, []uint16, []byte) bool { return false }
