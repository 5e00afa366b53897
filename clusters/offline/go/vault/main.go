// Command vault is HashiCorp Vault, server, agent and client, as its own module defines it.
//
// It is built without the cloud plug-ins (build tag minimal) and with the few plug-ins
// that the labs need on top (replaced/). The modules under without/ stand for libraries
// that the labs cannot use and that would take a third of the build time.
package main

import (
	"os"

	"github.com/hashicorp/vault/command"
)

func main() {
	os.Exit(command.Run(os.Args[1:]))
}
