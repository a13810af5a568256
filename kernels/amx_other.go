//go:build !amd64 || noasm

package kernels

// Only amd64 has tiles. They can be emulated everywhere.
var tilesAMX, tilesEmulated *tileSet
