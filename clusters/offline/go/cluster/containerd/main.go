// Command containerd runs the containers of a node.
//
// harness/supply/offline/recipes/kubernetes.py names the build tags that leave out what no node
// of the labs uses: snapshotters of rare file systems, tracing, plug-ins in WebAssembly.
package main

import (
	"fmt"
	"os"

	"github.com/containerd/containerd/v2/cmd/containerd/command"

	_ "github.com/containerd/containerd/v2/cmd/containerd/builtins"
)

func main() {
	if err := command.App().Run(os.Args); err != nil {
		fmt.Fprintf(os.Stderr, "containerd: %s\n", err)
		os.Exit(1)
	}
}
