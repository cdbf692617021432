import vue from '@vitejs/plugin-vue';

const isCustomElement = (tag) => tag === 'solconnect-sync-status';

export default { plugins: [vue({ template: { compilerOptions: { isCustomElement } } })] };
