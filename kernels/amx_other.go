//go:build !amd64 || noasm

package kernels

// tilesAMX: only amd64 has tiles. They can be emulated everywhere.
var tilesAMX *tileSet
