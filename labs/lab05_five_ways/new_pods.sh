# One new pod of each way, made of the template of its Deployment: bash new_pods.sh OUTAGE
for way in plain http csi injector operator; do
  kubectl get deployment $way -o json |
    kubectl exec -i deploy/plain -- jq --arg outage "$1" '{
      apiVersion: "v1", kind: "Pod",
      metadata: {
        name: ($outage + "-" + .metadata.name), labels: {outage: $outage},
        annotations: .spec.template.metadata.annotations
      },
      spec: .spec.template.spec
    }' | kubectl apply -f -
done
