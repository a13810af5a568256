// Draw writes the picture of the floors into a document, between its marks, from the table of the import order.
//
//	go run ./draw DOCUMENT
package main

import (
	"bytes"
	"fmt"
	"log"
	"os"
	"slices"

	"github.com/adaptflow/adaptflow/internal/layers"
	"github.com/adaptflow/adaptflow/internal/storage"
)

func main() {
	doc, err := os.ReadFile(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	out, err := layers.Draw(doc)
	if err != nil {
		log.Fatal(fmt.Errorf("%s: %w", os.Args[1], err))
	}
	if bytes.Equal(doc, out) {
		return
	}
	if err := storage.WriteShared(os.Args[1], slices.Clip(out)); err != nil {
		log.Fatal(err)
	}
}
