# Lighter's command line as an image, for `cmd` steps of ACR Tasks: the compiled program and the packages it runs with.
# Build it after `npm run build`, or let `lighter bootstrap` build it into your registry.
ARG NODE_IMAGE=docker.io/library/node:24-slim
FROM ${NODE_IMAGE}
WORKDIR /lighter
COPY package.json package-lock.json ./
RUN npm ci --omit=dev --omit=optional --ignore-scripts --no-audit --no-fund && npm cache clean --force
COPY dist/src ./dist/src
ENV NODE_ENV=production
# Steps of ACR Tasks find the registry's credentials in a home folder that belongs to root.
ENTRYPOINT ["node", "/lighter/dist/src/cli/main.js"]
