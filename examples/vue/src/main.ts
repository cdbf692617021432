import { createApp } from 'vue';
import App from './App.vue';
import './chat.css';

createApp(App).mount('#app');
