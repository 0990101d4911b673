// Reads kmodels with Netron's reader and prints what it found as JSON.
// Usage: node netron_kmodel.mjs FOLDER_WITH_NETRON FILE...
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const [folder, ...files] = process.argv.slice(2);
const base = await import(pathToFileURL(join(folder, 'base.js')));
const kmodel = await import(pathToFileURL(join(folder, 'kmodel.js')));

const shapeOf = (argument) => argument.value.map((value) => value.type ? value.type.shape.dimensions : null);
const weightsOf = (node) => {
    const found = node.inputs.find((input) => input.name === 'weights');
    return found ? found.value[0].initializer.values.length : null;
};

for (const file of files) {
    const stream = new base.BinaryStream(new Uint8Array(readFileSync(file)));
    const context = { stream, set: (type, value) => { context.value = value; return type; } };
    const factory = new kmodel.ModelFactory();
    await factory.match(context);
    const model = await factory.open(context);
    console.log(JSON.stringify({
        format: model.format,
        modules: model.modules.map((graph) => ({
            kind: graph.description,
            nodes: graph.nodes.map((node) => ({
                type: node.type.name,
                outputs: node.outputs.map(shapeOf),
                attributes: Object.fromEntries(node.attributes.map((a) => [a.name, a.value])),
                chain: node.chain.map((part) => ({
                    type: part.type.name,
                    attributes: Object.fromEntries(part.attributes.map((a) => [a.name, a.value]))
                })),
                weights: weightsOf(node)
            }))
        }))
    }));
}
