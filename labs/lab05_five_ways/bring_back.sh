# Give the cluster its parts again.
kubectl -n csi get daemonset -o name | xargs -n 1 kubectl -n csi patch --type=merge --patch \
  '{"spec": {"template": {"spec": {"nodeSelector": {"away": null}}}}}'
kubectl -n vault-injector scale deployment --all --replicas=2
kubectl -n vault-secrets-operator-system scale deployment --all --replicas=1
for namespace in vault-injector vault-secrets-operator-system; do
  kubectl -n $namespace rollout status deployment --timeout=120s
done
kubectl -n csi rollout status daemonset --timeout=120s
