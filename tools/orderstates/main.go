// Command orderstates writes the order's state machine, as internal/sale has it, as
// a picture and as a table: orderstates DIRECTORY.
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/flashsale-api/flashsale/internal/sale"
)

// The files that are written.
const (
	pictureFile = "order-states.svg"
	pageFile    = "order-states.md"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "orderstates:", err)
		os.Exit(1)
	}
}

func run(args []string) (err error) {
	if len(args) != 1 {
		return errors.New("usage: orderstates DIRECTORY")
	}
	drawn, err := picture(sale.Next)
	if err != nil {
		return err
	}
	told, err := page(sale.Next)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(args[0])
	if err != nil {
		return fmt.Errorf("opening the directory: %w", err)
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	return errors.Join(write(root, pictureFile, drawn), write(root, pageFile, told))
}

func write(root *os.Root, name string, content []byte) error {
	file, err := root.Create(name)
	if err != nil {
		return fmt.Errorf("creating %s: %w", name, err)
	}
	if _, err := file.Write(content); err != nil {
		return errors.Join(fmt.Errorf("writing %s: %w", name, err), file.Close())
	}
	return file.Close()
}
