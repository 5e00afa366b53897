//go:build minimal

// In place of Vault's helper/builtinplugins/registry_min.go, which adds nothing.

package builtinplugins

import (
	kubernetesauth "github.com/hashicorp/vault-plugin-auth-kubernetes"
	kubernetessecrets "github.com/hashicorp/vault-plugin-secrets-kubernetes"
	"github.com/hashicorp/vault/plugins/database/postgresql"
)

// extendAddonPlugins adds what the labs use to the plug-ins of a minimal Vault.
func extendAddonPlugins(plugins *registry) {
	plugins.credentialBackends["kubernetes"] = credentialBackend{Factory: kubernetesauth.Factory}
	plugins.logicalBackends["kubernetes"] = logicalBackend{Factory: kubernetessecrets.Factory}
	plugins.databasePlugins["postgresql-database-plugin"] = databasePlugin{Factory: postgresql.New}
}
