//go:build minimal

// In place of Vault's command/commands_min.go, which adds nothing.

package command

import "github.com/hashicorp/vault/sdk/physical/file"

// extendAddonHandlers adds the file storage to what a minimal Vault stores in.
func extendAddonHandlers(handlers *vaultHandlers) {
	handlers.physicalBackends["file"] = file.NewFileBackend
	handlers.physicalBackends["file_transactional"] = file.NewTransactionalFileBackend
}
