module kube-vault-labs/pause

go 1.25
